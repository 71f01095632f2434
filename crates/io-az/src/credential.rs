//! What an account is asked with: keys, signatures and tokens, or who hands those out.

use crate::token::TokenSource;
use forebay_io_object::Secret;
use std::sync::Arc;

/// How requests are authorised.
#[derive(Debug, Clone)]
pub enum Credential {
    /// Not at all: public containers.
    Anonymous,
    /// Signed with the account's key.
    AccountKey(Secret),
    /// A shared access signature in the query.
    Sas(Secret),
    /// A token of Microsoft Entra ID that is good for as long as the store is used.
    Bearer(Secret),
    /// Tokens from the program that uses this crate.
    Tokens(Arc<dyn TokenSource>),
    /// Tokens of the identity of the machine, from its metadata service.
    ManagedIdentity {
        /// Which identity, where there are several.
        client_id: Option<String>,
        /// Where that service is.
        service: MetadataService,
    },
    /// Tokens for an application with a secret.
    ClientSecret {
        /// Who it is.
        application: Application,
        /// Its secret.
        secret: Secret,
    },
    /// Tokens for an application that a token in a file speaks for (as in Kubernetes).
    WorkloadIdentity {
        /// Who it is.
        application: Application,
        /// The file, read again for each token.
        file: String,
    },
}

/// An application that is known to Microsoft Entra ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its tenant.
    pub tenant_id: String,
    /// Itself.
    pub client_id: String,
    /// Who hands out its tokens, where it is not the public cloud.
    pub authority_host: Option<String>,
}

/// Where a machine's metadata service is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataService {
    /// Its URL, where it is not that of virtual machines. Without a path, that of virtual machines is taken.
    pub endpoint: Option<String>,
    /// What it wants to be shown, where it is that of App Service, Functions or Container Apps.
    pub header: Option<Secret>,
}

impl Credential {
    /// Whether a token goes with each request.
    pub(crate) fn is_token(&self) -> bool {
        !matches!(self, Credential::Anonymous | Credential::AccountKey(_) | Credential::Sas(_))
    }
}
