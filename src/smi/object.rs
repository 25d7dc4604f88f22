//! Common parts of the SMI kinds: identity, metadata, and a specification that may be invalid.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The kinds that the translation starts from: those of SMI, and `Namespace` for deny by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `access.smi-spec.io/v1alpha3`.
    TrafficTarget,
    /// `specs.smi-spec.io/v1alpha4`.
    HttpRouteGroup,
    /// `specs.smi-spec.io/v1alpha4`.
    TcpRoute,
    /// `specs.smi-spec.io/v1alpha4`.
    UdpRoute,
    /// `split.smi-spec.io/v1alpha4`.
    TrafficSplit,
    /// `v1`; the source of a policy that denies by default.
    Namespace,
}

impl Kind {
    /// The kinds of SMI, without `Namespace`.
    pub const SMI: [Self; 5] =
        [Self::TrafficTarget, Self::HttpRouteGroup, Self::TcpRoute, Self::UdpRoute, Self::TrafficSplit];

    /// Such as `HTTPRouteGroup`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TrafficTarget => "TrafficTarget",
            Self::HttpRouteGroup => "HTTPRouteGroup",
            Self::TcpRoute => "TCPRoute",
            Self::UdpRoute => "UDPRoute",
            Self::TrafficSplit => "TrafficSplit",
            Self::Namespace => "Namespace",
        }
    }

    /// The API group; empty for `Namespace`.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::TrafficTarget => "access.smi-spec.io",
            Self::HttpRouteGroup | Self::TcpRoute | Self::UdpRoute => "specs.smi-spec.io",
            Self::TrafficSplit => "split.smi-spec.io",
            Self::Namespace => "",
        }
    }

    /// The version that SMI v0.6.0 serves.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::TrafficTarget => "v1alpha3",
            Self::HttpRouteGroup | Self::TcpRoute | Self::UdpRoute | Self::TrafficSplit => "v1alpha4",
            Self::Namespace => "v1",
        }
    }

    /// Such as `access.smi-spec.io/v1alpha3`.
    #[must_use]
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// The resource name in URLs, such as `traffictargets`.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::TrafficTarget => "traffictargets",
            Self::HttpRouteGroup => "httproutegroups",
            Self::TcpRoute => "tcproutes",
            Self::UdpRoute => "udproutes",
            Self::TrafficSplit => "trafficsplits",
            Self::Namespace => "namespaces",
        }
    }
}

/// One object by kind, namespace and name. The namespace of a `Namespace` is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The kind.
    pub kind: Kind,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{}/{}", self.kind.name(), self.name),
            namespace => write!(f, "{}/{namespace}/{}", self.kind.name(), self.name),
        }
    }
}

/// The part of `metadata` that the translation uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`; empty outside a cluster. Without it, translated objects get no owner reference.
    pub uid: String,
    /// `metadata.generation`; 0 when absent.
    pub generation: i64,
    /// `metadata.creationTimestamp` in RFC 3339; empty when absent. Of two `TrafficSplit`s on one Service, the older one
    /// applies.
    pub created: String,
}

impl Meta {
    /// Reads `metadata` of an object.
    #[must_use]
    pub fn read(object: &Value) -> Self {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        Self {
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            created: text("creationTimestamp"),
        }
    }
}

/// An SMI object. `spec` is an error text when the API server stored something that the type does not accept, which
/// happens under CRDs of another origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Object<S> {
    /// Identity and age.
    pub meta: Meta,
    /// The specification, or why it cannot be read.
    pub spec: Result<S, String>,
}

impl<S: DeserializeOwned> Object<S> {
    /// Reads an object. Never fails: an unreadable specification is part of the object.
    #[must_use]
    pub fn read(object: &Value) -> Self {
        Self { meta: Meta::read(object), spec: S::deserialize(&object["spec"]).map_err(|error| error.to_string()) }
    }
}
