//! Data planes that break one feature each, with the feature whose case must catch them.

/// A broken data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table below describes each")]
pub enum Mutant {
    DefaultDenyIgnored,
    AllowIgnored,
    SourceIgnored,
    SourceAccountIgnored,
    SourceNamespaceIgnored,
    PortsIgnored,
    FirstTargetOnly,
    DeletionIgnored,
    PathIgnored,
    PathExact,
    PathAnywhere,
    PathRegexWidened,
    RefusalAllowsAll,
    MethodIgnored,
    MethodDropped,
    OmittedMatchesMeanNone,
    OmittedMatchesMeanFirst,
    StaleRoutes,
    HeadersIgnored,
    HeadersOred,
    HeaderPresenceOnly,
    HeaderRegexWidened,
    HeaderRegexLiteral,
    SplitIgnored,
    LargestBackendTakesAll,
    WeightsSwapped,
    WeightsEqual,
    WeightOff,
    WeightsArePercent,
    ZeroWeightGetsOnePercent,
    SplitMatchesIgnored,
    SplitMatchesDropOthers,
    BackendPortIgnored,
    PortMismatchSilent,
    MissingBackendBreaksSplit,
    SplitDeletionIgnored,
    FirstEndpointOnly,
    RouteIgnored,
    RouteOrderIgnored,
    RouteHeadersIgnored,
    RouteQueryIgnored,
    RoutePathPrefixIsText,
    RouteWeightsEqual,
    RouteHeaderSetIgnored,
    RouteHeaderAddReplaces,
    RouteHeaderRemoveIgnored,
    RouteBackendHeadersIgnored,
    RedirectStatusIgnored,
    RedirectHostIgnored,
    RedirectPathIgnored,
    RedirectPathPrefixFull,
    RedirectPortIgnored,
    RedirectSchemeIgnored,
    RewriteIgnored,
    RewriteKeepsPrefix,
    NamedRuleIgnored,
    GrpcRouteIgnored,
}

/// One row of the mutation table.
#[derive(Debug, Clone, Copy)]
pub struct MutantInfo {
    /// The mutant.
    pub mutant: Mutant,
    /// `smi` or `gateway-api-mesh`.
    pub suite: &'static str,
    /// Feature whose case must fail.
    pub feature: &'static str,
    /// What the data plane does wrong.
    pub defect: &'static str,
}

const fn smi(mutant: Mutant, feature: &'static str, defect: &'static str) -> MutantInfo {
    MutantInfo { mutant, suite: "smi", feature, defect }
}

const fn mesh(mutant: Mutant, feature: &'static str, defect: &'static str) -> MutantInfo {
    MutantInfo { mutant, suite: "gateway-api-mesh", feature, defect }
}

/// Every mutant.
pub const MUTANTS: &[MutantInfo] = &[
    smi(Mutant::DefaultDenyIgnored, "default_deny", "allows requests without a TrafficTarget"),
    smi(Mutant::AllowIgnored, "allow_identity", "denies in spite of a TrafficTarget"),
    smi(Mutant::SourceIgnored, "deny_other_source", "allows every source"),
    smi(Mutant::SourceAccountIgnored, "deny_other_source", "allows every service account of the source's namespace"),
    smi(Mutant::SourceNamespaceIgnored, "cross_namespace_source", "compares service accounts without their namespace"),
    smi(Mutant::PortsIgnored, "tcp_ports", "ignores the ports of a TCPRoute"),
    smi(Mutant::FirstTargetOnly, "additive", "enforces one TrafficTarget of a destination only"),
    smi(Mutant::DeletionIgnored, "revoke", "continues to enforce deleted TrafficTargets"),
    smi(Mutant::PathIgnored, "path", "ignores pathRegex"),
    smi(Mutant::PathExact, "path", "anchors pathRegex at the end of the path"),
    smi(Mutant::PathAnywhere, "path", "does not anchor pathRegex at the start of the path"),
    smi(Mutant::PathRegexWidened, "path_regex", "uses the literal start of a pathRegex as a prefix"),
    smi(Mutant::RefusalAllowsAll, "path_regex", "allows every path where it cannot express a pathRegex"),
    smi(Mutant::MethodIgnored, "method", "ignores methods"),
    smi(Mutant::MethodDropped, "method", "drops methods other than *"),
    smi(Mutant::OmittedMatchesMeanNone, "matches_omitted", "allows nothing for a rule without matches"),
    smi(Mutant::OmittedMatchesMeanFirst, "matches_omitted", "uses the first match for a rule without matches"),
    smi(Mutant::StaleRoutes, "route_update", "does not notice changes of an HTTPRouteGroup"),
    smi(Mutant::HeadersIgnored, "header_exact", "ignores headers"),
    smi(Mutant::HeadersOred, "header_exact", "demands one of several headers only"),
    smi(Mutant::HeaderPresenceOnly, "header_exact", "accepts any value of a header"),
    smi(Mutant::HeaderRegexWidened, "header_regex", "compares the first character of a header value only"),
    smi(Mutant::HeaderRegexLiteral, "header_regex", "compares a header's regular expression as text, without an Event"),
    smi(Mutant::FirstEndpointOnly, "default_balance", "sends every request to the first endpoint"),
    smi(Mutant::SplitIgnored, "all_or_nothing", "ignores TrafficSplits"),
    smi(Mutant::LargestBackendTakesAll, "weighted", "sends everything to the backend with the largest weight"),
    smi(Mutant::WeightsSwapped, "all_or_nothing", "assigns weights in reverse order"),
    smi(Mutant::WeightsEqual, "weighted", "gives every backend with weight an equal share"),
    smi(Mutant::WeightOff, "weighted", "moves half of one backend's weight to another"),
    smi(Mutant::WeightsArePercent, "ratio", "reads weights as percentages"),
    smi(Mutant::ZeroWeightGetsOnePercent, "zero_weight", "gives a backend without weight 1 % of the requests"),
    smi(Mutant::SplitMatchesIgnored, "matches", "splits all requests in spite of matches"),
    smi(Mutant::SplitMatchesDropOthers, "matches", "answers 404 to requests that do not match"),
    smi(Mutant::BackendPortIgnored, "port_mismatch", "sends requests to a backend on another port"),
    smi(Mutant::PortMismatchSilent, "port_mismatch", "reports no Event for a backend without the port"),
    smi(Mutant::MissingBackendBreaksSplit, "missing_backend", "answers 503 when a backend Service does not exist"),
    smi(Mutant::SplitDeletionIgnored, "delete_split", "continues to split after the TrafficSplit is deleted"),
    mesh(Mutant::RouteIgnored, "MeshHTTPRouteSimpleSameNamespace", "ignores HTTPRoutes"),
    mesh(Mutant::RouteOrderIgnored, "MeshHTTPRouteMatching", "takes the first rule instead of the most specific match"),
    mesh(Mutant::RouteHeadersIgnored, "MeshHTTPRouteMatching", "ignores header matches"),
    mesh(Mutant::RoutePathPrefixIsText, "MeshHTTPRouteMatching", "matches a path prefix within a path element"),
    mesh(Mutant::RouteQueryIgnored, "MeshHTTPRouteQueryParamMatching", "ignores query parameters"),
    mesh(Mutant::RouteWeightsEqual, "MeshHTTPRouteWeight", "gives every backend an equal share"),
    mesh(Mutant::RouteHeaderSetIgnored, "MeshHTTPRouteRequestHeaderModifier", "does not set request headers"),
    mesh(
        Mutant::RouteHeaderAddReplaces,
        "MeshHTTPRouteRequestHeaderModifier",
        "replaces a request header instead of adding to it",
    ),
    mesh(Mutant::RouteHeaderRemoveIgnored, "MeshHTTPRouteRequestHeaderModifier", "does not remove request headers"),
    mesh(
        Mutant::RouteBackendHeadersIgnored,
        "MeshHTTPRouteBackendRequestHeaderModifier",
        "ignores filters of a backend",
    ),
    mesh(
        Mutant::RedirectStatusIgnored,
        "MeshHTTPRouteRedirectHostAndStatus",
        "redirects with 302 whatever the route says",
    ),
    mesh(Mutant::RedirectHostIgnored, "MeshHTTPRouteRedirectHostAndStatus", "keeps the host in Location"),
    mesh(Mutant::RedirectPathIgnored, "MeshHTTPRouteRedirectPath", "keeps the path in Location"),
    mesh(Mutant::RedirectPathPrefixFull, "MeshHTTPRouteRedirectPath", "replaces the whole path instead of its prefix"),
    mesh(Mutant::RedirectPortIgnored, "MeshHTTPRouteRedirectPort", "leaves the port out of Location"),
    mesh(Mutant::RedirectSchemeIgnored, "MeshHTTPRouteSchemeRedirect", "keeps the scheme in Location"),
    mesh(Mutant::RewriteIgnored, "MeshHTTPRouteRewritePath", "does not rewrite the path"),
    mesh(Mutant::RewriteKeepsPrefix, "MeshHTTPRouteRewritePath", "puts the new prefix before the old path"),
    mesh(Mutant::NamedRuleIgnored, "MeshHTTPRouteNamedRule", "ignores rules with a name"),
    mesh(Mutant::GrpcRouteIgnored, "MeshGRPCRouteWeight", "ignores GRPCRoutes"),
];
