//! Whoever hands out tokens and keys in a cloud, on loopback: the metadata services of Azure and EC2, Microsoft
//! Entra ID, the credentials of containers, and STS. It insists on what the real ones insist on.
//!
//! What it hands out is good in a [`FastServer`](super::FastServer) that [checks](super::FastServer::check_tokens)
//! the same [`Tokens`].

use super::serving::Serving;
use super::tokens::{TokenFault, Tokens};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const SESSION: &str = "session-of-metadata";
const RESOURCE: &str = "https://storage.azure.com/";

/// See the module's words. Stops when it is dropped.
#[derive(Debug)]
pub struct TokenServer {
    serving: Serving,
    tokens: Arc<Tokens>,
}

impl TokenServer {
    /// The tenant of the one application that Entra ID knows here.
    pub const TENANT: &'static str = "11111111-2222-3333-4444-555555555555";
    /// That application; and, of several identities of a machine, one.
    pub const CLIENT: &'static str = "forebay-test-client";
    /// What the application shows.
    pub const SECRET: &'static str = "not+a/secret";
    /// What somebody else's token says for the application, and for the role.
    pub const ASSERTION: &'static str = "assertion.of.a.cluster";
    /// What App Service's metadata service and a container's want to be shown.
    pub const HEADER: &'static str = "shown-in-a-field";
    /// The role of the machine and of the web identity.
    pub const ROLE: &'static str = "forebay-test-role";

    /// Starts one. Ends of keys are told by the clock `now`.
    ///
    /// # Errors
    /// The system gives no port or thread.
    pub fn start(seed: u64, now: fn() -> SystemTime) -> io::Result<Self> {
        let tokens = Arc::new(Tokens::new(seed, now));
        let shared = tokens.clone();
        let serving = Serving::start("token-server", 1, move |stream| {
            let tokens = shared.clone();
            let service = service_fn(move |request| {
                let tokens = tokens.clone();
                async move { Question::read(request).await.map(|question| question.answer(&tokens)) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            async move {
                // A client that went away is that client's affair.
                let _ = connection.await;
            }
        })?;
        Ok(TokenServer { serving, tokens })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.serving.address())
    }

    /// The URL of App Service's metadata service, and its kin's.
    pub fn app_service(&self) -> String {
        format!("{}/msi/token", self.endpoint())
    }

    /// The URL of a container's keys.
    pub fn container(&self) -> String {
        format!("{}/v2/credentials", self.endpoint())
    }

    /// The role that a web identity takes.
    pub fn role_arn() -> String {
        format!("arn:aws:iam::000000000000:role/{}", Self::ROLE)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.serving.address()
    }

    /// What it handed out.
    pub fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }
}

type Reply = Response<Full<Bytes>>;

/// What is asked.
struct Question {
    method: Method,
    path: String,
    /// Of the query and of a form.
    values: BTreeMap<String, String>,
    headers: http::HeaderMap,
}

fn reply(status: u16, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = StatusCode::from_u16(status).expect("statuses here are statuses");
    reply
}

impl Question {
    async fn read(request: Request<Incoming>) -> Result<Self, hyper::Error> {
        let (parts, body) = request.into_parts();
        let form = body.collect().await?.to_bytes();
        let form = String::from_utf8_lossy(&form);
        let pairs = [parts.uri.query().unwrap_or_default(), &form].join("&");
        let decoded =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let values = pairs.split('&').filter_map(|pair| pair.split_once('='));
        let values = values.map(|(name, value)| (name.to_owned(), decoded(value))).collect();
        let path = parts.uri.path().to_owned();
        Ok(Question { method: parts.method, path, values, headers: parts.headers })
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.values.get(name).is_some_and(|given| given == value)
    }

    fn shows(&self, name: &str, value: &str) -> bool {
        self.headers.get(name).is_some_and(|given| given == value)
    }

    fn answer(&self, tokens: &Tokens) -> Reply {
        match tokens.ask() {
            Some(TokenFault::Status(status)) => return reply(status, "no"),
            Some(TokenFault::Garbled) => return reply(200, "<html>of somebody else</html>"),
            None => {}
        }
        let entra = format!("/{}/oauth2/v2.0/token", TokenServer::TENANT);
        let role = format!("{ROLES}{}", TokenServer::ROLE);
        match (&self.method, &*self.path) {
            (&Method::GET, "/metadata/identity/oauth2/token") => {
                let asked = self.is("api-version", "2018-02-01") && self.is("resource", RESOURCE);
                self.machine(tokens, asked && self.shows("metadata", "true"))
            }
            (&Method::GET, "/msi/token") => {
                let asked = self.is("api-version", "2019-08-01") && self.is("resource", RESOURCE);
                self.machine(tokens, asked && self.shows("x-identity-header", TokenServer::HEADER))
            }
            (&Method::POST, path) if path == entra => self.entra(tokens),
            (&Method::PUT, "/latest/api/token") => {
                let seconds = self.headers.get("x-aws-ec2-metadata-token-ttl-seconds");
                let seconds = seconds.and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
                if seconds.is_some_and(|seconds| (1..=21600).contains(&seconds)) {
                    reply(200, SESSION)
                } else {
                    reply(400, "")
                }
            }
            (&Method::GET, path) if path.starts_with(ROLES) => {
                if !self.shows("x-aws-ec2-metadata-token", SESSION) {
                    reply(401, "")
                } else if path == ROLES {
                    reply(200, TokenServer::ROLE)
                } else if path == role {
                    keys(tokens)
                } else {
                    reply(404, "")
                }
            }
            (&Method::GET, "/v2/credentials") => {
                if self.shows("authorization", TokenServer::HEADER) {
                    keys(tokens)
                } else {
                    reply(401, "")
                }
            }
            (&Method::POST, "/") => self.sts(tokens),
            _ => reply(404, ""),
        }
    }

    fn machine(&self, tokens: &Tokens, asked: bool) -> Reply {
        let known = self.values.get("client_id").is_none_or(|id| id == TokenServer::CLIENT);
        if !asked || !known {
            let words = json!({"error": "invalid_request", "error_description": "Required metadata header not specified"});
            return reply(400, words.to_string());
        }
        let (_, token) = tokens.give("az");
        let (lifetime, end) = tokens.term();
        let end = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
        let answer = json!({
            "access_token": token, "expires_in": lifetime.as_secs().to_string(), "expires_on": end,
            "resource": RESOURCE, "token_type": "Bearer",
        });
        reply(200, answer.to_string())
    }

    fn entra(&self, tokens: &Tokens) -> Reply {
        let asked = self.is("grant_type", "client_credentials")
            && self.is("scope", &format!("{RESOURCE}.default"))
            && self.is("client_id", TokenServer::CLIENT);
        let by_assertion = self
            .is("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            && self.is("client_assertion", TokenServer::ASSERTION);
        if !asked || !(by_assertion || self.is("client_secret", TokenServer::SECRET)) {
            let description = "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 0";
            let words = json!({"error": "invalid_client", "error_description": description});
            return reply(401, words.to_string());
        }
        let (_, token) = tokens.give("az");
        let seconds = tokens.term().0.as_secs();
        reply(200, json!({"token_type": "Bearer", "expires_in": seconds, "access_token": token}).to_string())
    }

    fn sts(&self, tokens: &Tokens) -> Reply {
        let asked = self.is("Action", "AssumeRoleWithWebIdentity")
            && self.is("Version", "2011-06-15")
            && self.is("RoleArn", &TokenServer::role_arn())
            && self.values.contains_key("RoleSessionName");
        if !asked || !self.is("WebIdentityToken", TokenServer::ASSERTION) {
            let words = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code>\
                         <Message>not known</Message></Error></ErrorResponse>";
            return reply(400, words);
        }
        let (id, token) = tokens.give("ASIA");
        let end = humantime::format_rfc3339_seconds(tokens.term().1);
        reply(
            200,
            format!(
                "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <AssumeRoleWithWebIdentityResult><AssumedRoleUser><Arn>arn</Arn></AssumedRoleUser><Credentials>\
                 <SessionToken>{token}</SessionToken><SecretAccessKey>anything</SecretAccessKey>\
                 <Expiration>{end}</Expiration><AccessKeyId>{id}</AccessKeyId></Credentials>\
                 </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            ),
        )
    }
}

/// As the metadata service of EC2 and containers say them.
fn keys(tokens: &Tokens) -> Reply {
    let (id, token) = tokens.give("ASIA");
    let end = humantime::format_rfc3339_seconds(tokens.term().1).to_string();
    let answer = json!({
        "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": id, "SecretAccessKey": "anything", "Token": token,
        "Expiration": end,
    });
    reply(200, answer.to_string())
}
