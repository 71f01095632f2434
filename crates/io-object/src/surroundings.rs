//! What a store takes from the world around the process, handed in by the program.

use crate::Secret;
use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

/// Environment and clock, as the edges of the product hand them over: libraries read neither.
#[derive(Clone)]
pub struct Surroundings {
    environment: BTreeMap<String, Secret>,
    clock: fn() -> SystemTime,
}

impl Surroundings {
    /// An environment (only what [`Surroundings::reads`] is of use) and a clock: requests are signed with the
    /// time of day.
    pub fn new(environment: impl IntoIterator<Item = (String, String)>, clock: fn() -> SystemTime) -> Self {
        let environment = environment.into_iter().map(|(key, value)| (key, Secret::new(value))).collect();
        Surroundings { environment, clock }
    }

    /// A variable of the environment, if it is set to something.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(Secret::expose).filter(|value| !value.is_empty())
    }

    /// Whether a variable of this name means something to a store.
    pub fn reads(name: &str) -> bool {
        const BEGINNINGS: [&str; 3] = ["AWS_", "AZURE_", "IDENTITY_"];
        name == "HOME"
            || crate::NETWORK_VARIABLES.contains(&name)
            || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
    }

    /// The time of day.
    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("variables", &self.environment.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_and_never_printed() {
        let env = [("AWS_REGION", "r"), ("AWS_SECRET_ACCESS_KEY", "hunter2"), ("AWS_PROFILE", "")];
        let around =
            Surroundings::new(env.map(|(k, v)| (k.to_owned(), v.to_owned())), || SystemTime::UNIX_EPOCH);
        assert_eq!(around.variable("AWS_REGION"), Some("r"));
        assert_eq!(around.variable("AWS_PROFILE"), None);
        assert_eq!(around.now(), SystemTime::UNIX_EPOCH);
        assert!(!format!("{around:?}").contains("hunter2"));
    }
}
