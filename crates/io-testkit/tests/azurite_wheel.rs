//! Azurite where no Node.js is installed. It takes a minute, 300 MB and the network, so it is run when it is named:
//! `cargo test -p forebay-io-testkit --features servers --test azurite_wheel`.

use forebay_io_testkit::servers::{Ask, Azurite, NodeFrom};

/// Brings Node.js and Azurite into a folder of its own.
#[test]
fn azurite_runs_in_the_node_of_pypi_and_is_gone_when_dropped() {
    let folder = tempfile::tempdir().unwrap();
    for _ in ["installed now", "found"] {
        let azurite = Azurite::start_in(folder.path(), NodeFrom::Wheel).unwrap();
        let address = azurite.address();
        let target = format!("/{}/{}?restype=container", Azurite::ACCOUNT, azurite.container());
        assert_eq!(azurite.ask(Ask::new("GET", &target)).unwrap().status, 200);
        drop(azurite);
        let error = Ask::new("GET", "/").send(address).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}
