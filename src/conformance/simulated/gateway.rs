//! `HTTPRoute` and `GRPCRoute` with a Service as parent, as Gateway API v1 describes them.

use serde_json::Value;

use super::super::traffic::{Answer, Protocol, Request};
use super::world::{World, each};
use super::{Behavior, Mutant, Simulated};

/// How specific a match is: exact path, length of the prefix, method, headers, query parameters.
type Rank = (bool, usize, bool, usize, usize);

impl Simulated {
    /// The answer by a route of the Service; none without one, or where none of its rules matches and there is no
    /// Service-wide default.
    pub(super) fn route(&self, world: &World, request: &Request) -> Option<Answer> {
        let ignored = match request.protocol {
            Protocol::Http => Mutant::RouteIgnored,
            Protocol::Grpc => Mutant::GrpcRouteIgnored,
        };
        if self.behavior == Behavior::Ignoring || self.is(ignored) {
            return None;
        }
        let service = &world.service.as_ref()?["metadata"]["name"];
        let parent = |one: &Value| {
            one["kind"] == "Service"
                && one["name"] == *service
                && (one["port"].is_null() || one["port"] == request.port)
        };
        let routes: Vec<_> =
            world.routes.iter().filter(|route| each(&route["spec"]["parentRefs"]).any(parent)).collect();
        if routes.is_empty() {
            return None;
        }
        let rules = routes.iter().flat_map(|route| each(&route["spec"]["rules"]));
        let rules = rules.filter(|rule| rule["name"].is_null() || !self.is(Mutant::NamedRuleIgnored));
        let mut best: Option<(Rank, &Value, Option<&Value>)> = None;
        for rule in rules {
            let matches: Vec<_> = each(&rule["matches"]).collect();
            let hits = if matches.is_empty() {
                vec![((false, 1, false, 0, 0), None)]
            } else {
                matches.into_iter().filter_map(|one| Some((self.rank(request, one)?, Some(one)))).collect()
            };
            for (rank, one) in hits {
                if best.as_ref().is_none_or(|(top, _, _)| rank > *top && !self.is(Mutant::RouteOrderIgnored)) {
                    best = Some((rank, rule, one));
                }
            }
        }
        let Some((_, rule, one)) = best else { return Some(Answer { status: Some(404), ..Answer::default() }) };
        Some(self.follow(world, request, rule, one))
    }

    fn rank(&self, request: &Request, one: &Value) -> Option<Rank> {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        // A match without a path matches every path, as the prefix `/` does.
        let (mut exact, mut length) = (false, 1);
        if let Some(value) = one["path"]["value"].as_str() {
            exact = one["path"]["type"] == "Exact";
            let fits = if exact { path == value } else { self.is_prefix(value, path) };
            if !fits {
                return None;
            }
            length = value.len();
        }
        let has = |one: &Value, sent: &[(&str, &str)], any_case: bool| {
            let name = one["name"].as_str().unwrap_or_default();
            sent.iter().any(|(other, value)| {
                one["value"] == **value && (*other == name || any_case && other.eq_ignore_ascii_case(name))
            })
        };
        let sent_headers: Vec<_> = request.headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let sent_params: Vec<_> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let headers: Vec<_> = each(&one["headers"]).collect();
        let query_params: Vec<_> = each(&one["queryParams"]).collect();
        let headers_fit = headers.iter().all(|one| has(one, &sent_headers, true));
        let query_fits = query_params.iter().all(|one| has(one, &sent_params, false));
        let fits =
            (headers_fit || self.is(Mutant::RouteHeadersIgnored)) && (query_fits || self.is(Mutant::RouteQueryIgnored));
        fits.then_some((exact, length, false, headers.len(), query_params.len()))
    }

    fn is_prefix(&self, prefix: &str, path: &str) -> bool {
        let prefix = prefix.trim_end_matches('/');
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.is(Mutant::RoutePathPrefixIsText))
    }

    /// Redirects, or forwards to a backend with the filters of rule and backend.
    fn follow(&self, world: &World, request: &Request, rule: &Value, one: Option<&Value>) -> Answer {
        let prefix = one.and_then(|one| one["path"]["value"].as_str()).unwrap_or("/");
        let mut request = request.clone();
        for filter in each(&rule["filters"]) {
            match filter["type"].as_str().unwrap_or_default() {
                "RequestRedirect" => return self.redirect(&request, &filter["requestRedirect"], prefix),
                "URLRewrite" => self.rewrite(&mut request, &filter["urlRewrite"]["path"], prefix),
                "RequestHeaderModifier" => self.modify(&mut request, &filter["requestHeaderModifier"]),
                _ => {}
            }
        }
        let backends: Vec<_> = each(&rule["backendRefs"])
            .map(|backend| {
                let weight = backend["weight"].as_u64().map_or(1, |weight| u32::try_from(weight).unwrap_or(1));
                let equal = self.is(Mutant::RouteWeightsEqual) && weight > 0;
                (backend, if equal { 1 } else { weight })
            })
            .collect();
        let Some(backend) = self.weighted(&backends) else { return Answer { status: Some(500), ..Answer::default() } };
        if !self.is(Mutant::RouteBackendHeadersIgnored) {
            for filter in each(&backend["filters"]) {
                self.modify(&mut request, &filter["requestHeaderModifier"]);
            }
        }
        match world.named(backend["name"].as_str().unwrap_or_default()) {
            Some(service) => self.deliver(world, &request, service),
            None => Answer { status: Some(500), ..Answer::default() },
        }
    }

    fn redirect(&self, request: &Request, redirect: &Value, prefix: &str) -> Answer {
        let scheme = redirect["scheme"].as_str().filter(|_| !self.is(Mutant::RedirectSchemeIgnored));
        let host =
            redirect["hostname"].as_str().filter(|_| !self.is(Mutant::RedirectHostIgnored)).unwrap_or(&request.host);
        let port = redirect["port"].as_u64().filter(|_| !self.is(Mutant::RedirectPortIgnored));
        let status = redirect["statusCode"].as_u64().filter(|_| !self.is(Mutant::RedirectStatusIgnored)).unwrap_or(302);
        let mut moved = request.clone();
        if !self.is(Mutant::RedirectPathIgnored) {
            Self::replace(&mut moved, &redirect["path"], prefix, self.is(Mutant::RedirectPathPrefixFull));
        }
        // Without a scheme the port of the parent stays; with one, its well-known port goes unsaid.
        let shown = match (port, scheme) {
            (Some(port), _) => format!(":{port}"),
            (None, Some(_)) => String::new(),
            (None, None) if request.port == 80 => String::new(),
            (None, None) => format!(":{}", request.port),
        };
        let location = format!("{}://{host}{shown}{}", scheme.unwrap_or("http"), moved.path);
        Answer {
            status: u16::try_from(status).ok(),
            response_headers: vec![("Location".to_owned(), location)],
            ..Answer::default()
        }
    }

    fn rewrite(&self, request: &mut Request, path: &Value, prefix: &str) {
        if self.is(Mutant::RewriteIgnored) {
            return;
        }
        if self.is(Mutant::RewriteKeepsPrefix)
            && let Some(new) = path["replacePrefixMatch"].as_str()
        {
            request.path = format!("{}{}", new.trim_end_matches('/'), request.path);
            return;
        }
        Self::replace(request, path, prefix, false);
    }

    fn replace(request: &mut Request, path: &Value, prefix: &str, full: bool) {
        let (own, query) = request.path.split_once('?').map_or((request.path.as_str(), None), |(a, b)| (a, Some(b)));
        let replaced = match (path["replaceFullPath"].as_str(), path["replacePrefixMatch"].as_str()) {
            (Some(whole), _) => whole.to_owned(),
            (None, Some(new)) if full => new.to_owned(),
            (None, Some(new)) => {
                let rest = own.strip_prefix(prefix.trim_end_matches('/')).unwrap_or_default();
                let joined = format!("{}/{}", new.trim_end_matches('/'), rest.trim_start_matches('/'));
                if rest.is_empty() && new != "/" { new.to_owned() } else { joined }
            }
            (None, None) => return,
        };
        request.path = query.map_or_else(|| replaced.clone(), |query| format!("{replaced}?{query}"));
    }

    fn modify(&self, request: &mut Request, modifier: &Value) {
        let pair = |one: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&one["name"]), text(&one["value"]))
        };
        for (name, value) in each(&modifier["set"]).map(pair).filter(|_| !self.is(Mutant::RouteHeaderSetIgnored)) {
            request.headers.retain(|(one, _)| !one.eq_ignore_ascii_case(&name));
            request.headers.push((name, value));
        }
        for (name, value) in each(&modifier["add"]).map(pair) {
            if self.is(Mutant::RouteHeaderAddReplaces) {
                request.headers.retain(|(one, _)| !one.eq_ignore_ascii_case(&name));
            }
            request.headers.push((name, value));
        }
        for name in each(&modifier["remove"]).filter_map(Value::as_str) {
            if !self.is(Mutant::RouteHeaderRemoveIgnored) {
                request.headers.retain(|(one, _)| !one.eq_ignore_ascii_case(name));
            }
        }
    }
}
