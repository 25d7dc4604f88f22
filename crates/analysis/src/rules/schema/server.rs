//! Validates TLS settings of a Gateway server or a Sidecar listener. Source: `validateTLSOptions`.

use std::collections::BTreeSet;

use super::report::{At, IST0133, Report};

/// Cipher suites that Istio accepts (`pkg/config/security`).
const CIPHERS: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

pub(super) fn check_tls(tls: &At<'_, '_>, report: &mut Report<'_>) {
    if tls.is_null() {
        return;
    }
    check_ciphers(tls, report);
    // The default mode is PASSTHROUGH.
    let mode = tls.get("mode").text();
    match mode {
        "ISTIO_MUTUAL" => {
            let own = [
                "serverCertificate",
                "privateKey",
                "caCertificates",
                "tlsCertificates",
                "credentialName",
                "credentialNames",
            ];
            for key in tls.set(&own) {
                report.error(
                    &tls.key(key),
                    "must not be set with ISTIO_MUTUAL, which uses the certificates of the \
                                             mesh",
                );
            }
            return;
        }
        "" | "PASSTHROUGH" | "AUTO_PASSTHROUGH" => {
            let unused = [
                "caCrl",
                "serverCertificate",
                "privateKey",
                "caCertificates",
                "tlsCertificates",
                "credentialName",
                "credentialNames",
            ];
            if let Some(key) = tls.set(&unused).first() {
                let mode = if mode.is_empty() { "PASSTHROUGH (the default mode)" } else { mode };
                report.warning(&tls.key(key), format_args!("{mode} does not terminate TLS and ignores certificates"));
            }
        }
        _ => {}
    }
    let mut sources = tls.set(&["credentialName", "credentialNames", "tlsCertificates"]);
    if tls.has("serverCertificate") && tls.has("privateKey") {
        sources.push("serverCertificate with privateKey");
    }
    if sources.len() > 1 {
        report.error(tls, format_args!("only one source of certificates is allowed, not {}", sources.join(" and ")));
    }
    let ends = matches!(mode, "SIMPLE" | "MUTUAL" | "OPTIONAL_MUTUAL");
    if ends && (tls.has("credentialName") || tls.has("credentialNames")) {
        return;
    }
    if ends {
        check_certificates(tls, mode, report);
    }
    if tls.has("caCrl") {
        let crl = tls.key("caCrl");
        if tls.has("credentialName") {
            report.error(&crl, "must not be set with credentialName; its Secret contains the revocation list");
        }
        if mode == "SIMPLE" {
            report.error(&crl, "mode SIMPLE does not request client certificates, so a revocation list has no use");
        }
    }
}

fn check_certificates(tls: &At<'_, '_>, mode: &str, report: &mut Report<'_>) {
    if mode != "SIMPLE" && !tls.has("caCertificates") {
        report.error(tls, format_args!("mode {mode} requires caCertificates (or credentialName) to verify clients"));
    }
    let pairs = tls.key("tlsCertificates");
    if pairs.items().len() > 2 {
        report.warning(&pairs, "more than two certificates are not supported");
    }
    let mut check = |pair: &At<'_, '_>| {
        for (key, what) in [("serverCertificate", "a server certificate"), ("privateKey", "a private key")] {
            if !pair.has(key) {
                report.error(pair, format_args!("mode {mode} requires {what}: credentialName, or the file in {key}"));
            }
        }
    };
    if pairs.items().is_empty() {
        check(tls);
    }
    for pair in pairs.each() {
        check(&pair);
    }
}

fn check_ciphers(tls: &At<'_, '_>, report: &mut Report<'_>) {
    let ciphers = tls.key("cipherSuites");
    let version = tls.key("minProtocolVersion");
    if matches!(version.text(), "TLSV1_0" | "TLSV1_1") && ciphers.items().is_empty() {
        report.warning(
            &version,
            "for versions below TLS 1.2 the cipher suites are required too, because the defaults \
                                  need TLS 1.2",
        );
    }
    let mut seen = BTreeSet::new();
    for cipher in ciphers.each() {
        let name = cipher.node().text();
        // Operators in BoringSSL cipher expressions begin with a sign.
        let known =
            matches!(name, "" | "ALL") || !name.starts_with(|c: char| c.is_alphanumeric()) || CIPHERS.contains(&name);
        if !known {
            report.warning(&cipher, format_args!("{name:?} is not a known cipher suite and is ignored"));
        } else if !seen.insert(name) {
            report.repeated(&IST0133, &cipher, format_args!("duplicate cipher suite {name:?}"));
        }
    }
}
