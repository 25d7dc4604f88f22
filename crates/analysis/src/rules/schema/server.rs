//! TLS as a server of a Gateway or a listener of a Sidecar ends it. Source: `validateTLSOptions`.

use std::collections::BTreeSet;

use super::report::{At, Report};

/// What `BoringSSL` offers, as Istio lists it (`pkg/config/security`).
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
    // PASSTHROUGH is the mode of one that states none.
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
                report.error(&tls.key(key), "ISTIO_MUTUAL uses the mesh's certificates, so this cannot be set");
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
                let mode = if mode.is_empty() { "PASSTHROUGH (the mode if none is stated)" } else { mode };
                report.warning(&tls.key(key), format_args!("{mode} does not end TLS and ignores certificates"));
            }
        }
        _ => {}
    }
    let mut sources = tls.set(&["credentialName", "credentialNames", "tlsCertificates"]);
    if tls.has("serverCertificate") && tls.has("privateKey") {
        sources.push("serverCertificate with privateKey");
    }
    if sources.len() > 1 {
        report.error(tls, format_args!("only one source of certificates can be given, not {}", sources.join(" and ")));
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
            report.error(&crl, "with credentialName the revocation list comes from the same Secret");
        }
        if mode == "SIMPLE" {
            report.error(&crl, "SIMPLE asks for no client certificate, so there is none to revoke");
        }
    }
}

fn check_certificates(tls: &At<'_, '_>, mode: &str, report: &mut Report<'_>) {
    if mode != "SIMPLE" && !tls.has("caCertificates") {
        report.error(tls, format_args!("{mode} needs caCertificates (or credentialName) to check clients with"));
    }
    let pairs = tls.key("tlsCertificates");
    if pairs.items().len() > 2 {
        report.warning(&pairs, "more than two certificates are not supported");
    }
    let mut check = |pair: &At<'_, '_>| {
        for (key, what) in [("serverCertificate", "a server certificate"), ("privateKey", "a private key")] {
            if !pair.has(key) {
                report.error(pair, format_args!("{mode} needs {what}: credentialName, or the file in {key}"));
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
        report.warning(&version, "below TLS 1.2 the ciphers must be named too, as the usual ones need TLS 1.2");
    }
    let mut seen = BTreeSet::new();
    for cipher in ciphers.each() {
        let name = cipher.node().text();
        // Operators of BoringSSL's expressions begin with a sign.
        let known =
            matches!(name, "" | "ALL") || !name.starts_with(|c: char| c.is_alphanumeric()) || CIPHERS.contains(&name);
        if !known {
            report.warning(&cipher, format_args!("{name:?} is no known cipher and is ignored"));
        } else if !seen.insert(name) {
            report.warning(&cipher, format_args!("{name:?} is there twice"));
        }
    }
}
