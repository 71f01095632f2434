//! Ways to the service: TLS and who vouches for it, and proxies. Through each client that is built in.

use crate::server::{at, clients, on_fast};
use forebay_io::{Budget, Kind, Pool, PutOptions, ReadOptions, Result, Retry, Store, read};
use forebay_io_object::HttpOptions;
use forebay_io_testkit::data;
use forebay_io_testkit::servers::{Certificates, FastServer, WebProxy};

const LEN: usize = 100_000;

fn told(pairs: &[(&str, &str)]) -> HttpOptions {
    let mut options = HttpOptions::default();
    for (key, value) in pairs {
        assert!(options.set(key, value).unwrap(), "{key}");
    }
    options
}

async fn use_it(store: &dyn Store) -> Result<()> {
    store.put(&at("k"), data::bytes(5, LEN).as_slice().into(), PutOptions::default()).await?;
    let pool = Pool::new(Budget::new(1 << 20).unwrap());
    let block = read(store, &at("k"), None, ReadOptions::default(), &pool).await?;
    assert!(block.slot(0).unwrap() == data::bytes(5, LEN));
    Ok(())
}

#[tokio::test]
async fn a_service_over_tls_is_believed_where_somebody_trusted_vouches_for_it() {
    let (known, other) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let server = FastServer::start_tls(1, &known).unwrap();
    let [good, bad] = [&known, &other].map(|certificates| certificates.bundle().to_str().unwrap());
    let endpoint = server.azure_endpoint();
    assert!(endpoint.starts_with("https://"));
    for client in clients() {
        use_it(&on_fast(client, &endpoint, told(&[("ca_bundle", good)]))).await.unwrap();
        for (pairs, needle) in [(&[("ca_bundle", bad)][..], "that ca_bundle names"), (&[], "the system's")] {
            let error = use_it(&on_fast(client, &endpoint, told(pairs))).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.retry()),
                (Kind::InvalidConfig, Retry::Never),
                "{client}: {error}"
            );
            assert!(error.to_string().contains(needle), "{client}: {error}");
        }
    }
}

#[tokio::test]
async fn requests_go_through_the_proxy_that_an_option_names() {
    let certificates = Certificates::new().unwrap();
    let bundle = ("ca_bundle", certificates.bundle().to_str().unwrap());
    for client in clients() {
        let proxy = WebProxy::start(Some("me:hush")).unwrap();
        let url = proxy.url_of("me:hush");
        let plain = FastServer::start(1).unwrap();
        use_it(&on_fast(client, &plain.azure_endpoint(), told(&[("proxy", &url)]))).await.unwrap();
        assert_eq!((proxy.forwarded(), proxy.tunnels()), (plain.requests(), 0), "{client}");
        let tls = FastServer::start_tls(1, &certificates).unwrap();
        use_it(&on_fast(client, &tls.azure_endpoint(), told(&[("proxy", &url), bundle]))).await.unwrap();
        assert_eq!((proxy.forwarded(), proxy.tunnels()), (plain.requests(), tls.connections()), "{client}");
        for server in [&plain, &tls] {
            let wrong = told(&[("proxy", &proxy.url_of("me:wrong-hush")), bundle]);
            let store = on_fast(client, &server.azure_endpoint(), wrong);
            let error = use_it(&store).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Denied, "{client}: {error}");
            assert!(!format!("{error} {error:?} {store:?}").contains("hush"), "{client}: {error}");
        }
        assert!(proxy.refused() >= 2, "{client}");
    }
}
