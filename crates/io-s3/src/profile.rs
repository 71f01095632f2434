//! Profiles as AWS's tools keep them: `~/.aws/credentials` and `~/.aws/config`.

use crate::Credentials;
use forebay_io::{Error, Result};
use forebay_io_object::Surroundings;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a profile says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) credentials: Option<Credentials>,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
}

/// Reads the profile `name`, or `default` if none is named, from the files that the environment names.
/// Where no profile is named and there are no files, there is nothing to read.
///
/// # Errors
/// `InvalidConfig` for a named profile that is in neither file, for one that has half a key, and for one
/// that asks for what is not built in (SSO, a role, a process).
pub(crate) fn read(name: Option<&str>, around: &Surroundings) -> Result<Profile> {
    let path = |variable: &str, file: &str| {
        let home = || around.variable("HOME").map(|home| PathBuf::from(home).join(".aws").join(file));
        around.variable(variable).map(PathBuf::from).or_else(home)
    };
    let mut fields = BTreeMap::new();
    let mut found = false;
    let mut files = Vec::new();
    let wanted = name.unwrap_or("default");
    // The second file goes before the first.
    for (variable, file, prefix) in
        [("AWS_CONFIG_FILE", "config", "profile "), ("AWS_SHARED_CREDENTIALS_FILE", "credentials", "")]
    {
        let Some(path) = path(variable, file) else { continue };
        files.push(path.display().to_string());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(Error::invalid(format!("profile file {}: {error}", path.display())));
            }
        };
        for (section, key, value) in entries(&text) {
            if section == wanted || (section.strip_prefix(prefix).map(str::trim) == Some(wanted)) {
                found = true;
                if !key.is_empty() {
                    fields.insert(key.to_owned(), value.to_owned());
                }
            }
        }
    }
    if !found {
        return match name {
            None => Ok(Profile::default()),
            Some(name) => {
                let files = if files.is_empty() { "there is no HOME".into() } else { files.join(" nor ") };
                Err(Error::invalid(format!("profile {name:?} is in neither {files}")))
            }
        };
    }
    of_fields(wanted, name.is_some(), fields)
}

fn of_fields(name: &str, asked_for: bool, mut fields: BTreeMap<String, String>) -> Result<Profile> {
    let (id, secret) = (fields.remove("aws_access_key_id"), fields.remove("aws_secret_access_key"));
    let credentials = match (id, secret) {
        (Some(access_key_id), Some(secret)) => Some(Credentials {
            access_key_id,
            secret_access_key: secret.into(),
            session_token: fields.remove("aws_session_token").map(Into::into),
            expires: None,
        }),
        (None, None) => {
            let other =
                ["sso_session", "sso_start_url", "role_arn", "credential_process", "credential_source"];
            if let Some(other) = other.into_iter().find(|key| asked_for && fields.contains_key(*key)) {
                return Err(Error::invalid(format!(
                    "profile {name:?} has its keys by {other}, which is not built in; write keys into the \
                     environment (`aws configure export-credentials --format env`), or hand over a callable"
                )));
            }
            None
        }
        _ => {
            return Err(Error::invalid(format!(
                "profile {name:?} has only one of aws_access_key_id and aws_secret_access_key"
            )));
        }
    };
    Ok(Profile { credentials, region: fields.remove("region"), endpoint: fields.remove("endpoint_url") })
}

/// Section, key and value of each line that has them; a section's own line has no key. Lines that are
/// indented belong to the key above them, of which none is of interest here.
fn entries(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let mut section = "";
    text.lines().filter_map(move |line| {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) || line.starts_with([' ', '\t']) {
            return None;
        }
        if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = name.0.trim();
            return Some((section, "", ""));
        }
        let (key, value) = bare.split_once('=')?;
        Some((section, key.trim(), value.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn around(home: &std::path::Path) -> Surroundings {
        let env = [("HOME".to_owned(), home.to_str().unwrap().to_owned())];
        Surroundings::new(env, || SystemTime::UNIX_EPOCH)
    }

    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let config = "# mine\n[default]\nregion = eu-west-1\n\n[profile lab]\nregion=us-west-2\nendpoint_url = http://h:9000\ns3 =\n  max_queue = 1\n[profile sso]\nsso_session = x\n";
        let credentials = "[default]\naws_access_key_id = D\naws_secret_access_key = hunter2\n[lab]\naws_access_key_id=L\naws_secret_access_key=a=b\naws_session_token = t\n[half]\naws_access_key_id = H\n";
        std::fs::write(home.path().join(".aws/config"), config).unwrap();
        std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        home
    }

    #[test]
    fn profiles_are_joined_from_both_files() {
        let home = home();
        let default = read(None, &around(home.path())).unwrap();
        assert_eq!(default.region.as_deref(), Some("eu-west-1"));
        assert_eq!(default.credentials.unwrap().access_key_id, "D");
        let lab = read(Some("lab"), &around(home.path())).unwrap();
        let credentials = lab.credentials.unwrap();
        assert_eq!(
            (credentials.access_key_id.as_str(), credentials.secret_access_key.expose()),
            ("L", "a=b")
        );
        assert!(credentials.session_token.is_some());
        assert_eq!(
            (lab.region.as_deref(), lab.endpoint.as_deref()),
            (Some("us-west-2"), Some("http://h:9000"))
        );
    }

    #[test]
    fn what_a_profile_cannot_give_is_said() {
        let home = home();
        for (name, needle) in
            [("nobody", "\"nobody\" is in neither"), ("half", "only one of"), ("sso", "sso_session")]
        {
            let error = read(Some(name), &around(home.path())).unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        }
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(read(None, &around(empty.path())).unwrap(), Profile::default());
    }
}
