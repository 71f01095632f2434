//! What S3 and Azure Blob share: requests, parts, bodies, uploads.
