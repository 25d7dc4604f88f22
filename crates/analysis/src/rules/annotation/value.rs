//! Validates annotation values. Sources: istio `pkg/kube/inject/validate.go`; istio/api `ProxyConfig`; Kubernetes
//! `resource.Quantity`. Contains no rule.

use core::net::IpAddr;

use crate::Value;
use crate::mesh::read_embedded;

/// Validates the value of an annotation. An annotation without a known format is always valid.
///
/// # Errors
/// Why the value is invalid, for the end of a message.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    match name {
        "traffic.sidecar.istio.io/includeOutboundIPRanges" | "traffic.sidecar.istio.io/includeInboundPorts"
            if value == "*" =>
        {
            Ok(())
        }
        "sidecar.istio.io/interceptionMode" => match value {
            "REDIRECT" | "TPROXY" | "NONE" => Ok(()),
            _ => Err(format!("{value} is not REDIRECT, TPROXY or NONE")),
        },
        "status.sidecar.istio.io/port" => port(value),
        "readiness.status.sidecar.istio.io/initialDelaySeconds"
        | "readiness.status.sidecar.istio.io/periodSeconds"
        | "readiness.status.sidecar.istio.io/failureThreshold" => {
            value.parse::<u32>().map(|_| ()).map_err(|_| format!("{value} is not an integer"))
        }
        "traffic.sidecar.istio.io/includeOutboundIPRanges" | "traffic.sidecar.istio.io/excludeOutboundIPRanges" => {
            each(value, network)
        }
        "traffic.sidecar.istio.io/includeInboundPorts"
        | "traffic.sidecar.istio.io/excludeInboundPorts"
        | "traffic.sidecar.istio.io/excludeOutboundPorts" => each(value.trim(), port),
        "traffic.sidecar.istio.io/excludeInterfaces"
        | "traffic.sidecar.istio.io/kubevirtInterfaces"
        | "istio.io/reroute-virtual-interfaces" => each(value, interface),
        "prometheus.istio.io/merge-metrics" => match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(()),
            _ => Err(format!("{value} is not true or false")),
        },
        "proxy.istio.io/config" => proxy_config(value),
        "sidecar.istio.io/proxyCPU"
        | "sidecar.istio.io/proxyMemory"
        | "sidecar.istio.io/proxyCPULimit"
        | "sidecar.istio.io/proxyMemoryLimit" => quantity(value),
        _ => Ok(()),
    }
}

/// A comma-separated list; the empty list is valid.
fn each(list: &str, check: fn(&str) -> Result<(), String>) -> Result<(), String> {
    if list.is_empty() { Ok(()) } else { list.split(',').try_for_each(check) }
}

fn port(text: &str) -> Result<(), String> {
    text.trim().parse::<u16>().map(|_| ()).map_err(|_| format!("{text} is not a port"))
}

fn network(text: &str) -> Result<(), String> {
    let is_network = text.split_once('/').is_some_and(|(address, bits)| {
        let most = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    });
    if is_network { Ok(()) } else { Err(format!("{text} is not a CIDR such as 10.0.0.0/8")) }
}

/// Longest name of a network interface in Linux, bytes.
const INTERFACE_BYTES: usize = 15;

fn interface(text: &str) -> Result<(), String> {
    let name = text.trim();
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || "_.-@:".contains(character);
    if name.is_empty() || name.len() > INTERFACE_BYTES || !name.chars().all(is_allowed) {
        return Err(format!("{text} is not a valid interface name"));
    }
    Ok(())
}

/// A number with a suffix such as `m`, `Mi` or `e3`.
fn quantity(text: &str) -> Result<(), String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits =
        unsigned.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(digits);
    let is_number = number.chars().any(|character| character.is_ascii_digit()) && number.matches('.').count() < 2;
    let is_exponent = |suffix: &str| suffix.strip_prefix(['e', 'E']).is_some_and(|power| power.parse::<i32>().is_ok());
    let is_suffix = matches!(
        suffix,
        "" | "n" | "u" | "m" | "k" | "M" | "G" | "T" | "P" | "E" | "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei"
    ) || is_exponent(suffix);
    if is_number && is_suffix { Ok(()) } else { Err(format!("{text} is not a quantity such as 100m or 128Mi")) }
}

/// Fields of `ProxyConfig` in camelCase.
const PROXY_CONFIG: [&str; 40] = [
    "availabilityZone",
    "binaryPath",
    "caCertificatesPem",
    "concurrency",
    "configPath",
    "connectionSettings",
    "controlPlaneAuthPolicy",
    "customConfigFile",
    "discoveryAddress",
    "discoveryRefreshDelay",
    "drainDuration",
    "envoyAccessLogService",
    "envoyMetricsService",
    "envoyMetricsServiceAddress",
    "extraStatTags",
    "fileFlushInterval",
    "fileFlushMinSizeKb",
    "gatewayTopology",
    "holdApplicationUntilProxyStarts",
    "image",
    "interceptionMode",
    "meshId",
    "privateKeyProvider",
    "proxyAdminPort",
    "proxyBootstrapTemplatePath",
    "proxyHeaders",
    "proxyMetadata",
    "proxyStatsMatcher",
    "readinessProbe",
    "runtimeValues",
    "sds",
    "serviceCluster",
    "statNameLength",
    "statsCompression",
    "statsdUdpAddress",
    "statusPort",
    "terminationDrainDuration",
    "tracing",
    "tracingServiceName",
    "zipkinAddress",
];

fn proxy_config(text: &str) -> Result<(), String> {
    let entries = match read_embedded(text) {
        Some(Value::Map(entries)) => entries,
        Some(Value::Null) => return Ok(()),
        _ => return Err("the value is not a YAML or JSON mapping".to_owned()),
    };
    let camel = |key: &str| {
        let mut words = key.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |name, word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            name + &first.into_iter().chain(letters).collect::<String>()
        })
    };
    // Protobuf's JSON parser also accepts the original snake_case names.
    let is_known = |key: &str| {
        let key = camel(key);
        PROXY_CONFIG.iter().any(|known| *known == key)
    };
    match entries.iter().find(|(key, _)| !is_known(key)) {
        Some((key, _)) => Err(format!("ProxyConfig has no field {key}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn values_are_validated_like_the_injector() {
        for (name, good, bad) in [
            ("sidecar.istio.io/interceptionMode", "TPROXY", "tproxy"),
            ("status.sidecar.istio.io/port", "15020", "65536"),
            ("readiness.status.sidecar.istio.io/periodSeconds", "10", "-1"),
            ("traffic.sidecar.istio.io/includeOutboundIPRanges", "*", "10.0.0.0"),
            ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "10.0.0.0/8,fd00::/8", "10.0.0.0/33"),
            ("traffic.sidecar.istio.io/excludeInboundPorts", "80, 443", "80,web"),
            ("traffic.sidecar.istio.io/includeInboundPorts", "", "**"),
            ("istio.io/reroute-virtual-interfaces", "net1, net2", "an-interface-too-long"),
            ("prometheus.istio.io/merge-metrics", "False", "no"),
            ("sidecar.istio.io/proxyCPU", "100m", "100 m"),
            ("sidecar.istio.io/proxyMemory", "1.5Gi", "1.5.1Gi"),
            ("sidecar.istio.io/proxyMemoryLimit", "1e3", "e3"),
            ("proxy.istio.io/config", "{tracing: {sampling: 1}, drain_duration: 5s}", "tracings: {}"),
            ("proxy.istio.io/config", "", "[1]"),
        ] {
            assert_eq!(check(name, good), Ok(()), "{name}: {good}");
            assert!(check(name, bad).is_err(), "{name}: {bad}");
        }
    }
}
