//! Every way to say who one is, against a server that asks for it; and what a wrong one looks like.

use crate::support;

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use sailhand::bus::nats::{self, NatsBus, topology};
use sailhand::bus::topology::Topology;
use sailhand::bus::{Cancellation, Error, Subjects};
use sailhand::config::{Bus, Nats};
use sailhand::error::{Classify, Code, Problem};
use serde_json::{Value, json};
use support::nats::{NatsServer, Options};
use tempfile::TempDir;

const SECRET: &str = "s3cretw0rd";

struct BusEnv {
    dir: TempDir,
    server: NatsServer,
}

impl BusEnv {
    async fn new(dir: TempDir, config: String) -> Self {
        let server = NatsServer::start_with(Options { config: Some(config), ..Options::default() }).await;
        Self { dir, server }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        write(self.dir.path(), name, text)
    }

    /// Everything that admin rights are for works with these credentials.
    async fn accepts(&self, nats: Nats) {
        let nats = Nats { url: vec![self.server.url()], ..nats };
        let connection = nats::connect(&nats, "test", false).await.expect("the credentials are right");
        let bus = NatsBus::new(connection, Subjects::new("istio"));
        let declared = Topology::new(&Bus::default());
        topology::apply(&bus, &declared).await.expect("streams can be made");
        topology::verify(&bus, &declared).await.expect("streams are as made");
    }

    async fn refuses(&self, nats: Nats) {
        let nats = Nats { url: vec![self.server.url()], ..nats };
        let Err(error) = nats::connect(&nats, "test", false).await else { panic!("it was let in") };
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        let text = Problem::new(&error).to_string();
        assert!(!text.contains(SECRET), "{text}");
    }
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn user_and_password() {
    let test_env = BusEnv::new(dir(), format!("authorization {{ user: me, password: {SECRET} }}")).await;
    let right = test_env.file("right", &format!("{SECRET}\n"));
    let wrong = test_env.file("wrong", "other");
    let with = |file| Nats { user: Some("me".to_owned()), password_file: Some(file), ..Nats::default() };
    test_env.accepts(with(right)).await;
    test_env.refuses(with(wrong)).await;
    test_env.refuses(Nats::default()).await;
}

#[tokio::test]
async fn token() {
    let test_env = BusEnv::new(dir(), format!("authorization {{ token: {SECRET} }}")).await;
    let right = test_env.file("right", SECRET);
    let wrong = test_env.file("wrong", "other");
    test_env.accepts(Nats { token_file: Some(right), ..Nats::default() }).await;
    test_env.refuses(Nats { token_file: Some(wrong), ..Nats::default() }).await;
}

#[tokio::test]
async fn nkey() {
    let pair = KeyPair::new_user();
    let test_env =
        BusEnv::new(dir(), format!("authorization {{ users: [ {{ nkey: {} }} ] }}", pair.public_key())).await;
    let right = test_env.file("right", &pair.seed().unwrap());
    let wrong = test_env.file("wrong", &KeyPair::new_user().seed().unwrap());
    test_env.accepts(Nats { nkey_file: Some(right), ..Nats::default() }).await;
    test_env.refuses(Nats { nkey_file: Some(wrong), ..Nats::default() }).await;
}

#[tokio::test]
async fn creds_file() {
    let (operator, system, account) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let limits = json!({
        "subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1, "wildcards": true,
        "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let accounts = [(&system, json!({})), (&account, limits)].map(|(pair, limits)| {
        (pair.public_key(), jwt(&operator, pair, json!({ "type": "account", "limits": limits })))
    });
    let [(system_id, system_jwt), (account_id, account_jwt)] = accounts;
    let operator_jwt = jwt(&operator, &operator, json!({ "type": "operator" }));
    let config = format!(
        "operator: {operator_jwt}\nsystem_account: {system_id}\nresolver: MEMORY\n\
         resolver_preload: {{ {system_id}: {system_jwt}, {account_id}: {account_jwt} }}\n"
    );
    let test_env = BusEnv::new(dir(), config).await;

    let user = KeyPair::new_user();
    let unlimited = json!({ "type": "user", "subs": -1, "data": -1, "payload": -1 });
    let right = test_env.file("right.creds", &creds(&jwt(&account, &user, unlimited.clone()), &user));
    let stranger = KeyPair::new_account();
    let wrong = test_env.file("wrong.creds", &creds(&jwt(&stranger, &user, unlimited), &user));
    test_env.accepts(Nats { creds_file: Some(right), ..Nats::default() }).await;
    test_env.refuses(Nats { creds_file: Some(wrong), ..Nats::default() }).await;
}

/// A JWT as NATS signs it.
fn jwt(issuer: &KeyPair, subject: &KeyPair, mut nats: Value) -> String {
    nats["version"] = json!(2);
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let claims = part(json!({
        "jti": "test", "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test",
        "nats": nats,
    }));
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

fn creds(jwt: &str, user: &KeyPair) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        user.seed().unwrap()
    )
}

#[tokio::test]
async fn tls_with_a_client_certificate() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = dir();
    let (ours, other) = (authority(), authority());
    let ca = write(dir.path(), "ca.pem", &ours.pem());
    let (cert, key) = issue(dir.path(), "server", &ours, ExtendedKeyUsagePurpose::ServerAuth);
    let config = format!("tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true }}");
    let test_env = BusEnv::new(dir, config).await;
    let with = |ca: &Path, (cert, key): (PathBuf, PathBuf)| Nats {
        tls_ca: Some(ca.to_owned()),
        tls_cert: Some(cert),
        tls_key: Some(key),
        ..Nats::default()
    };
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    let right = issue(test_env.dir.path(), "right", &ours, client.clone());
    test_env.accepts(with(&ca, right.clone())).await;
    test_env.refuses(with(&ca, issue(test_env.dir.path(), "wrong", &other, client))).await;
    test_env.refuses(Nats { tls_ca: Some(ca), ..Nats::default() }).await;
    let stranger = test_env.file("stranger.pem", &other.pem());
    test_env.refuses(with(&stranger, right)).await;
}

fn authority() -> CertifiedIssuer<'static, rcgen::KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap()
}

fn issue(
    dir: &Path,
    name: &str,
    authority: &CertifiedIssuer<'static, rcgen::KeyPair>,
    usage: ExtendedKeyUsagePurpose,
) -> (PathBuf, PathBuf) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    let cert = params.signed_by(&pair, authority).unwrap();
    (write(dir, &format!("{name}.pem"), &cert.pem()), write(dir, &format!("{name}.key"), &pair.serialize_pem()))
}

#[tokio::test]
async fn a_missing_or_broken_credentials_file_is_named() {
    let dir = dir();
    let missing = dir.path().join("missing");
    let broken = write(dir.path(), "broken", "not credentials");
    for nats in [
        Nats { token_file: Some(missing.clone()), ..Nats::default() },
        Nats { creds_file: Some(missing.clone()), ..Nats::default() },
        Nats { creds_file: Some(broken), ..Nats::default() },
    ] {
        let file = nats.token_file.clone().or(nats.creds_file.clone()).unwrap();
        let Err(error) = nats::connect(&nats, "test", false).await else { panic!("connected") };
        assert_eq!(error.code(), Code::SH2007, "{error:?}");
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    }
}

#[tokio::test]
async fn denied_requests_fail_at_once() {
    let config = "authorization { users: [
        { user: admin, password: a }
        { user: reader, password: r, permissions: {
            publish: { allow: [\"$JS.API.DIRECT.GET.ISTIO_RES.>\"] }, subscribe: { allow: [\"_INBOX_reader.>\"] } } }
    ] }";
    let test_env = BusEnv::new(dir(), config.to_owned()).await;
    let user = |name: &str, word: &str| Nats {
        user: Some(name.to_owned()),
        password_file: Some(test_env.file(name, word)),
        inbox_prefix: format!("_INBOX_{name}"),
        url: vec![test_env.server.url()],
        ..Nats::default()
    };
    test_env.accepts(user("admin", "a")).await;
    let connection = nats::connect(&user("reader", "r"), "test", false).await.unwrap();
    let bus = NatsBus::new(connection, Subjects::new("istio"));
    let key = "0123456789abcdef0123456789abcdef".parse().unwrap();

    // What is permitted works, with a wildcard for the target too.
    assert!(bus.last("ISTIO_RES", &bus.subjects().result_of(&key)).await.unwrap().is_none());
    let begun = tokio::time::Instant::now();
    let write = bus.request_cancel(&Cancellation::of_all_targets(&key), &json!({})).await.unwrap_err();
    let read = bus.next("ISTIO_DLQ", "istio.dlq.>", 1).await.err().unwrap();
    let follow = bus.last("ISTIO_EVT", &bus.subjects().events_of(&key)).await.err().unwrap();
    for error in [write, read, follow] {
        assert_eq!(error.code(), Code::SH2004, "{error:?}");
        assert!(error.to_string().contains("ermissions"), "{error}");
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "a time-out was waited for: {:?}", begun.elapsed());
}
