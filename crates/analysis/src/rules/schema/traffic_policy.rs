//! Validates the traffic policy of a host, subset or port. Source: `validateTrafficPolicy` and the functions it calls.

use super::load_balancer;
use super::report::{At, Report};
use crate::syntax::{address, name};

const SETTINGS: &[&str] = &["outlierDetection", "connectionPool", "loadBalancer", "tls"];

pub(super) fn check(policy: &At<'_, '_>, report: &mut Report<'_>) {
    if policy.is_null() {
        return;
    }
    let ports = policy.key("portLevelSettings");
    let set = |key: &&str| policy.get(key).is_set();
    let others = ["tunnel", "proxyProtocol", "retryBudget"];
    if !SETTINGS.iter().any(set) && !others.iter().any(&set) && ports.items().is_empty() {
        report.error(policy, "at least one field is required");
        return;
    }
    if set(&"tunnel") && set(&"proxyProtocol") {
        report.error(policy, "tunnel and proxyProtocol are mutually exclusive");
        return;
    }
    check_settings(policy, report);
    for port in ports.each() {
        if port.is_null() {
            report.error(&port, "port-level settings must not be null");
            continue;
        }
        if port.get("port").is_null() {
            report.error(&port, "the port is required");
        }
        if SETTINGS.iter().any(|key| port.get(key).is_set()) {
            check_settings(&port, report);
        } else {
            report.error(&port, format_args!("at least one of {} is required", SETTINGS.join(", ")));
        }
    }
    check_tunnel(&policy.key("tunnel"), report);
}

fn check_settings(settings: &At<'_, '_>, report: &mut Report<'_>) {
    let outliers = settings.key("outlierDetection");
    check_outlier_detection(&outliers, report);
    check_connection_pool(&settings.key("connectionPool"), report);
    load_balancer::check(&settings.key("loadBalancer"), outliers.is_set(), report);
    check_tls(&settings.key("tls"), report);
}

fn check_tunnel(tunnel: &At<'_, '_>, report: &mut Report<'_>) {
    if tunnel.is_null() {
        return;
    }
    let protocol = tunnel.key("protocol");
    if !matches!(protocol.text(), "" | "CONNECT" | "POST") {
        report.error(&protocol, format_args!("must be CONNECT or POST, not {:?}", protocol.text()));
    }
    let host = tunnel.key("targetHost");
    if !address::is_ip(host.text()) {
        report.check(&host, name::check_fqdn(host.text()));
    }
    report.port(&tunnel.key("targetPort"));
}

fn check_outlier_detection(outliers: &At<'_, '_>, report: &mut Report<'_>) {
    report.duration(&outliers.key("baseEjectionTime"));
    report.duration(&outliers.key("interval"));
    if outliers.has("consecutiveErrors") {
        report.warning(
            &outliers.key("consecutiveErrors"),
            "deprecated; use consecutiveGatewayErrors or consecutive5xxErrors",
        );
    }
    if outliers.has("consecutiveLocalOriginFailures") && !outliers.get("splitExternalLocalOriginErrors").is_true() {
        report.error(
            &outliers.key("consecutiveLocalOriginFailures"),
            "requires splitExternalLocalOriginErrors: true, because local errors are not counted separately without \
             it",
        );
    }
    report.percent(&outliers.key("maxEjectionPercent"));
    report.percent(&outliers.key("minHealthPercent"));
}

/// Also validates the `inboundConnectionPool` of a Sidecar.
pub(super) fn check_connection_pool(pool: &At<'_, '_>, report: &mut Report<'_>) {
    if pool.is_null() {
        return;
    }
    let (http, tcp) = (pool.key("http"), pool.key("tcp"));
    if http.is_null() && tcp.is_null() {
        report.error(pool, "at least one of http and tcp is required");
        return;
    }
    for key in [
        "http1MaxPendingRequests",
        "http2MaxRequests",
        "maxRequestsPerConnection",
        "maxRetries",
        "maxConcurrentStreams",
    ] {
        report.not_negative(&http.key(key));
    }
    report.duration(&http.key("idleTimeout"));
    if http.get("h2UpgradePolicy").text() == "UPGRADE" && http.get("useClientProtocol").is_true() {
        report.error(&http.key("useClientProtocol"), "conflicts with h2UpgradePolicy UPGRADE");
    }
    let pings = http.key("http2KeepAlive");
    if pings.is_set() {
        for key in ["interval", "timeout"] {
            if pings.get(key).is_null() {
                report.error(&pings, format_args!("{key} is required"));
            }
            report.duration(&pings.key(key));
        }
    }
    report.not_negative(&tcp.key("maxConnections"));
    report.duration(&tcp.key("connectTimeout"));
    report.duration(&tcp.key("maxConnectionDuration"));
    let idle = tcp.key("idleTimeout");
    // 0 disables it.
    if idle.as_str().and_then(crate::syntax::duration::parse).is_some_and(|time| time / 1_000_000 != 0) {
        report.duration(&idle);
    }
    let probes = tcp.key("tcpKeepalive");
    report.duration(&probes.key("time"));
    report.duration(&probes.key("interval"));
}

/// Client TLS settings. Source: `ValidateTLS`.
fn check_tls(tls: &At<'_, '_>, report: &mut Report<'_>) {
    let mode = tls.get("mode").text();
    let credential = tls.key("credentialName");
    if let Some(rest) = credential.text().strip_prefix("configmap://") {
        let own = report.namespace();
        let (namespace, name) = rest.split_once('/').map_or((own, rest), |(namespace, name)| (namespace, name));
        if name.is_empty() || name.contains('/') {
            report.error(&credential, "must have the form `configmap://name` or `configmap://namespace/name`");
        } else if namespace != own || own.is_empty() {
            report.error(&credential, "the ConfigMap must be in the namespace of this object");
        }
    }
    if tls.get("insecureSkipVerify").is_true() {
        let excluded: &[&str] = match mode {
            "SIMPLE" => &["caCertificates", "credentialName", "subjectAltNames"],
            "MUTUAL" => &["caCertificates", "subjectAltNames"],
            _ => &[],
        };
        for key in tls.set(excluded) {
            report.error(&tls.key(key), "must not be set with insecureSkipVerify, which disables verification");
        }
    }
    if matches!(mode, "SIMPLE" | "MUTUAL") && tls.has("credentialName") {
        for key in tls.set(&["clientCertificate", "caCertificates", "privateKey", "caCrl"]) {
            report.error(&tls.key(key), "must not be set with credentialName, which is the source of the certificates");
        }
        return;
    }
    if mode == "MUTUAL" {
        for (key, what) in [("clientCertificate", "a client certificate"), ("privateKey", "a private key")] {
            if !tls.has(key) {
                report.error(tls, format_args!("mode MUTUAL requires {what}: credentialName, or the file in {key}"));
            }
        }
    }
}
