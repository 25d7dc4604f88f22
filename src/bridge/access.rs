//! Permissions of a call: on the plaintext listener those of the configuration; with a client certificate those that
//! `bridge.clients` gives to one of its names. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::Error;
use crate::config::Bridge;
use crate::event::Target;
use crate::web::tls::CertificateNames;

/// Characters of certificate names in a refusal.
const MAX_NAMES: usize = 512;

/// Who calls, and what the caller may do: an extension of each request.
#[derive(Clone)]
pub(super) struct Caller {
    /// Key of `bridge.clients`. None on the plaintext listener, and if the configuration has no clients.
    pub client: Option<Arc<str>>,
    /// The configuration, with the operations of this caller.
    pub config: Arc<Bridge>,
    /// The targets of this caller; all of the configuration if None.
    pub targets: Option<Arc<BTreeSet<Target>>>,
}

impl Caller {
    /// An error of a check against `config`, with the setting that this caller's permissions come from.
    pub(super) fn explain(&self, error: Error) -> Error {
        match (error, &self.client) {
            (Error::NotAllowed { entry }, Some(client)) => Error::ClientOperation { client: client.to_string(), entry },
            (error, _) => error,
        }
    }

    /// # Errors
    /// [`Error::Client`] if the caller may not reach one of these targets.
    pub(super) fn check(&self, targets: &[Target]) -> Result<(), Error> {
        let (Some(client), Some(allowed)) = (&self.client, &self.targets) else { return Ok(()) };
        match targets.iter().find(|target| !allowed.contains(target)) {
            None => Ok(()),
            Some(target) => Err(Error::ClientTarget { client: client.to_string(), target: target.to_string() }),
        }
    }
}

/// All callers of the configuration.
pub(super) struct Access {
    /// Of the plaintext listener.
    open: Caller,
    /// By the subject alternative name of their certificates.
    clients: Vec<(String, Caller)>,
}

impl Access {
    pub(super) fn new(config: &Arc<Bridge>) -> Self {
        let clients = config.clients.iter().map(|(name, client)| {
            let operations = client.operations.clone();
            let targets = client.targets.iter().filter_map(|id| id.parse().ok()).collect();
            let caller = Caller {
                client: Some(name.as_str().into()),
                config: Arc::new(Bridge { operations, ..Bridge::clone(config) }),
                targets: Some(Arc::new(targets)),
            };
            (client.certificate.clone(), caller)
        });
        Self { clients: clients.collect(), open: Caller { client: None, config: config.clone(), targets: None } }
    }

    /// The caller of a connection; `names` is None without TLS.
    ///
    /// # Errors
    /// [`Error::ClientCertificate`] if the configuration has clients, and the certificate belongs to none of them.
    pub(super) fn caller(&self, names: Option<&CertificateNames>) -> Result<Caller, Error> {
        let Some(CertificateNames(names)) = names.filter(|_| !self.clients.is_empty()) else {
            return Ok(self.open.clone());
        };
        let found = self.clients.iter().find(|(certificate, _)| names.contains(certificate));
        found
            .map(|(_, caller)| caller.clone())
            .ok_or_else(|| Error::ClientCertificate { names: names.join(", ").chars().take(MAX_NAMES).collect() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bridge::operation;
    use crate::config::BridgeClient;

    fn client(certificate: &str, operations: &[&str], targets: &[&str]) -> BridgeClient {
        let list = |entries: &[&str]| entries.iter().map(|&entry| entry.to_owned()).collect();
        BridgeClient { certificate: certificate.to_owned(), operations: list(operations), targets: list(targets) }
    }

    fn names(names: &[&str]) -> CertificateNames {
        CertificateNames(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn certificate_has_the_permissions_of_its_client_and_no_others() {
        let clients = BTreeMap::from([
            ("ci".to_owned(), client("spiffe://mesh/ci", &["bookinfo"], &["dev"])),
            ("ops".to_owned(), client("ops.example.com", &["istio:delete"], &["dev", "prod"])),
        ]);
        let access = Access::new(&Arc::new(Bridge { clients, ..Bridge::default() }));
        let (dev, prod): (Target, Target) = ("dev".parse().unwrap(), "prod".parse().unwrap());
        let ci = access.caller(Some(&names(&["other", "spiffe://mesh/ci"]))).ok().unwrap();
        assert!(ci.check(std::slice::from_ref(&dev)).is_ok());
        assert!(matches!(ci.check(&[dev, prod.clone()]), Err(Error::ClientTarget { .. })));
        assert!(operation::find("bookinfo").unwrap().check(&ci.config, false).is_ok());
        assert!(operation::find("httpbin").unwrap().check(&ci.config, false).is_err());
        let ops = access.caller(Some(&names(&["ops.example.com"]))).ok().unwrap();
        assert!(operation::find("istio").unwrap().check(&ops.config, true).is_ok());
        for unknown in [&[][..], &["spiffe://mesh/other"], &["spiffe://mesh/ci/x"]] {
            assert!(
                matches!(access.caller(Some(&names(unknown))), Err(Error::ClientCertificate { .. })),
                "{unknown:?}"
            );
        }
        let open = access.caller(None).ok().unwrap();
        assert!(open.client.is_none() && open.check(&[prod]).is_ok());
        let without = Access::new(&Arc::new(Bridge::default()));
        assert!(without.caller(Some(&names(&["any"]))).is_ok());
    }
}
