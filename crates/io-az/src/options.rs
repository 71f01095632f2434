//! What a caller may say about Azure, as keys and values, and which variable of the environment says the
//! same. What it comes to is [`AzConfig`](crate::AzConfig)'s affair.

use crate::token::TokenSource;
use forebay_io::{Error, Result};
use forebay_io_object::{Secret, Surroundings};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    /// Variables of the environment that stand for it where it is not given, the first one set first.
    pub variables: &'static [&'static str],
    takes: Takes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Text,
    Secret,
    YesNo,
    Client,
}
use Takes::{Client, Secret as Hidden, Text, YesNo};

/// The client libraries, the default first.
const CLIENTS: [&str; 2] = ["forebay", "azure-storage-blobs"];

/// Every option of Azure that can be given as text.
pub const KEYS: [Key; 17] = [
    key(
        "account_name",
        "the storage account",
        &["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"],
        Text,
    ),
    key(
        "account_key",
        "the account's shared key, in base64",
        &["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY"],
        Hidden,
    ),
    key(
        "sas_token",
        "a shared access signature",
        &["AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"],
        Hidden,
    ),
    key(
        "connection_string",
        "account, endpoint and key in one, as the Azure portal shows them",
        &["AZURE_STORAGE_CONNECTION_STRING"],
        Hidden,
    ),
    key("bearer_token", "a token of Microsoft Entra ID", &["AZURE_STORAGE_TOKEN"], Hidden),
    key(
        "endpoint",
        "the URL of the service, where it is not the usual one",
        &["AZURE_STORAGE_ENDPOINT", "AZURE_STORAGE_SERVICE_ENDPOINT"],
        Text,
    ),
    key(
        "emulator",
        "whether it is an emulator, with its well-known account",
        &["AZURE_STORAGE_USE_EMULATOR"],
        YesNo,
    ),
    key(
        "anonymous",
        "whether to send no credentials at all",
        &["AZURE_STORAGE_ANON", "AZURE_STORAGE_SKIP_SIGNATURE"],
        YesNo,
    ),
    key(
        "managed_identity",
        "whether to ask this machine's metadata service for tokens; client_id chooses among several identities",
        &["AZURE_STORAGE_USE_MANAGED_IDENTITY"],
        YesNo,
    ),
    key(
        "identity_endpoint",
        "the URL of the metadata service, where it is not that of virtual machines",
        &["AZURE_IDENTITY_ENDPOINT", "IDENTITY_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST"],
        Text,
    ),
    key(
        "identity_header",
        "what the metadata service of App Service and Functions wants to be shown",
        &["AZURE_IDENTITY_HEADER", "IDENTITY_HEADER"],
        Hidden,
    ),
    key("client_id", "the application or identity", &["AZURE_STORAGE_CLIENT_ID", "AZURE_CLIENT_ID"], Text),
    key(
        "client_secret",
        "the application's secret",
        &["AZURE_STORAGE_CLIENT_SECRET", "AZURE_CLIENT_SECRET"],
        Hidden,
    ),
    key("tenant_id", "the application's tenant", &["AZURE_STORAGE_TENANT_ID", "AZURE_TENANT_ID"], Text),
    key(
        "federated_token_file",
        "a file with the token of a workload identity",
        &["AZURE_FEDERATED_TOKEN_FILE"],
        Text,
    ),
    key(
        "authority_host",
        "who hands out tokens, where it is not the public cloud",
        &["AZURE_AUTHORITY_HOST"],
        Text,
    ),
    key("client", "the client library: forebay or azure-storage-blobs", &[], Client),
];

const fn key(
    name: &'static str,
    about: &'static str,
    variables: &'static [&'static str],
    takes: Takes,
) -> Key {
    Key { name, about, variables, takes }
}

/// Options of Azure as they were given.
#[derive(Clone, Default)]
pub struct AzOptions {
    values: BTreeMap<&'static str, Secret>,
    /// Hands out tokens, where the program has a way of its own to get them.
    pub tokens: Option<Arc<dyn TokenSource>>,
}

impl AzOptions {
    /// Sets one of [`KEYS`].
    ///
    /// # Errors
    /// `InvalidConfig` for an unknown key, and for an empty value or one that is not `true` or `false` where
    /// that is asked for. No value is shown.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            let names = KEYS.map(|key| key.name).join(", ");
            return Err(Error::invalid(format!("option {name:?} is not known; valid: {names}")));
        };
        if value.is_empty() {
            return Err(Error::invalid(format!("{name} is empty; leave it out or give a value")));
        }
        let value = match key.takes {
            YesNo => match value {
                "true" | "1" | "True" | "TRUE" => "true",
                "false" | "0" | "False" | "FALSE" => "false",
                _ => return Err(Error::invalid(format!("{name} must be true or false"))),
            },
            Client if !CLIENTS.contains(&value) => {
                let valid = CLIENTS.join(" or ");
                return Err(Error::invalid(format!("{name} must be {valid}, is {value:?}")));
            }
            Text | Hidden | Client => value,
        };
        self.values.insert(key.name, Secret::from(value));
        Ok(())
    }

    /// What the environment says.
    ///
    /// # Errors
    /// As [`AzOptions::set`], naming the variable.
    pub fn from_environment(around: &Surroundings) -> Result<Self> {
        let mut options = AzOptions::default();
        for key in KEYS {
            let set = |name: &&'static str| around.variable(name).map(|value| (*name, value));
            if let Some((variable, value)) = key.variables.iter().find_map(set) {
                options.set(key.name, value).map_err(|e| e.context(variable))?;
            }
        }
        Ok(options)
    }

    /// The text of an option.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(Secret::expose)
    }

    /// An option that is a secret.
    pub(crate) fn secret(&self, name: &str) -> Option<Secret> {
        self.values.get(name).cloned()
    }

    /// The client library that is asked for.
    pub(crate) fn client(&self) -> &str {
        self.text("client").unwrap_or(CLIENTS[0])
    }

    /// Whether an option is set to `true`.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }
}

impl fmt::Debug for AzOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("AzOptions");
        for key in KEYS {
            if let Some(value) = self.values.get(key.name) {
                match key.takes {
                    Hidden => shown.field(key.name, value),
                    Text | YesNo | Client => shown.field(key.name, &value.expose()),
                };
            }
        }
        shown.field("tokens", &self.tokens.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_in_the_debug_text() {
        let mut options = AzOptions::default();
        for key in KEYS {
            let value = match key.takes {
                YesNo => "true",
                Client => CLIENTS[0],
                Text | Hidden => "hush",
            };
            options.set(key.name, value).unwrap();
        }
        let text = format!("{options:?} {options:#?}");
        for key in KEYS {
            assert!(text.contains(key.name), "{}", key.name);
            let shown = text.contains(&format!("{}: \"hush\"", key.name));
            assert_eq!(shown, key.takes == Text, "{}", key.name);
        }
    }

    #[test]
    fn mistakes_are_named_without_their_value() {
        let mut options = AzOptions::default();
        for (name, value, needle) in [
            ("acount", "hush", "valid: account_name, account_key"),
            ("emulator", "hush", "true or false"),
            ("sas_token", "", "sas_token is empty"),
            ("client", "curl", "forebay or azure-storage-blobs, is \"curl\""),
        ] {
            let error = options.set(name, value).unwrap_err().to_string();
            assert!(error.contains(needle) && !error.contains("hush"), "{error}");
        }
    }

    fn surroundings(environment: &[(&str, &str)]) -> Surroundings {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Surroundings::new(environment, || std::time::SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn the_first_variable_that_is_set_counts() {
        let environment = [
            ("AZURE_STORAGE_ACCOUNT_NAME", ""),
            ("AZURE_STORAGE_ACCOUNT", "acme"),
            ("AZURE_STORAGE_KEY", "late"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "early"),
            ("AZURE_STORAGE_AUTH_MODE", "login"),
        ];
        let options = AzOptions::from_environment(&surroundings(&environment)).unwrap();
        assert_eq!(options.text("account_name"), Some("acme"));
        assert_eq!(options.text("account_key"), Some("early"));
        let wrong = surroundings(&[("AZURE_STORAGE_ANON", "hush")]);
        let error = AzOptions::from_environment(&wrong).unwrap_err().to_string();
        assert!(error.starts_with("AZURE_STORAGE_ANON: ") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn names_and_variables_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for key in KEYS {
            assert!(seen.insert(key.name));
            assert!(key.variables.iter().all(|variable| seen.insert(variable)), "{}", key.name);
        }
    }
}
