//! Requests between workloads and their answers, and the trait of what sends them. Plain data.

use async_trait::async_trait;
use serde_json::Value;

use super::Error;

/// The protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// gRPC, the echo service.
    Grpc,
}

impl Protocol {
    /// Scheme of the URL.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

/// Requests of one kind, sent one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// Namespace of the sending workload.
    pub namespace: String,
    /// The sending Deployment.
    pub from: String,
    /// Host of the URL.
    pub host: String,
    /// Port of the URL.
    pub port: u16,
    /// HTTP method; unused for gRPC.
    pub method: String,
    /// Path with query; unused for gRPC.
    pub path: String,
    /// Request headers.
    pub headers: Vec<(String, String)>,
    /// The protocol.
    pub protocol: Protocol,
    /// How many requests, at least 1.
    pub count: u32,
    /// Requests per second; 0 for as fast as possible.
    pub per_second: u32,
}

impl Request {
    /// The URL.
    #[must_use]
    pub fn url(&self) -> String {
        let port =
            if self.protocol == Protocol::Http && self.port == 80 { String::new() } else { format!(":{}", self.port) };
        format!("{}://{}{port}{}", self.protocol.scheme(), self.host, self.path)
    }

    /// Such as `app-a: GET http://app-b:9091/echo (x-canary: yes)`.
    #[must_use]
    pub fn describe(&self) -> String {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let headers = if headers.is_empty() { String::new() } else { format!(" ({})", headers.join(", ")) };
        let times = if self.count > 1 { format!(", {} times", self.count) } else { String::new() };
        format!("{}: {} {}{headers}{times}", self.from, self.method, self.url())
    }
}

/// Why there is no HTTP answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The connection was reset or closed: how a layer 4 policy denies.
    Reset,
    /// The host name was not resolved.
    Dns,
    /// No answer in time.
    Timeout,
    /// Anything else, such as a refused connection.
    Other,
}

impl Failure {
    /// Judges the text of the echo client. The order matters: a lookup that times out is a DNS error.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if has(&["no such host", "lookup ", "name resolution", "server misbehaving"]) {
            Self::Dns
        } else if has(&["timeout", "deadline exceeded", "timed out"]) {
            Self::Timeout
        } else if has(&["reset by peer", "eof", "connection closed", "broken pipe"]) {
            Self::Reset
        } else {
            Self::Other
        }
    }
}

/// Outcome of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status; a gRPC call that was answered is 200.
    pub status: Option<u16>,
    /// Why there is no status, with the client's text.
    pub error: Option<(Failure, String)>,
    /// Workload that answered: the pod's name without its last two parts.
    pub backend: String,
    /// Path and query as the workload received them.
    pub path: String,
    /// Host header as the workload received it.
    pub host: String,
    /// Request headers as the workload received them; names as sent, several values of one name as several entries.
    pub request_headers: Vec<(String, String)>,
    /// Response headers as the client received them.
    pub response_headers: Vec<(String, String)>,
}

impl Answer {
    /// No HTTP answer.
    #[must_use]
    pub fn failed(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { error: Some((Failure::of(&text), text)), ..Self::default() }
    }

    /// Such as `200 from app-b` or the client's error.
    #[must_use]
    pub fn describe(&self) -> String {
        match (&self.status, &self.error) {
            (Some(status), _) if self.backend.is_empty() => status.to_string(),
            (Some(status), _) => format!("{status} from {}", self.backend),
            (None, Some((_, text))) => text.clone(),
            (None, None) => "no answer".to_owned(),
        }
    }
}

/// The values of a header, by its name in any case.
pub fn header<'a>(headers: &'a [(String, String)], name: &'a str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Sends requests from workloads.
#[async_trait]
pub trait TrafficDriver: Send + Sync {
    /// Sends the requests and gives one answer for each. A request that gets no HTTP answer is an [`Answer`] with an
    /// error.
    ///
    /// # Errors
    /// When nothing could be sent: no right to exec, no pod, no API server.
    async fn send(&self, request: &Request) -> Result<Vec<Answer>, Error>;

    /// Changes a Deployment of the suite to what the driver's image needs. By default nothing.
    fn adapt(&self, _deployment: &mut Value) {}

    /// `exec`, `port-forward` or `simulated`, for reports.
    fn name(&self) -> &'static str;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transport_errors_are_classified() {
        for (text, failure) in [
            ("Get \"http://b:9091/\": dial tcp: lookup b on 10.0.0.10:53: no such host", Failure::Dns),
            ("dial tcp: lookup b: i/o timeout", Failure::Dns),
            ("context deadline exceeded (Client.Timeout exceeded while awaiting headers)", Failure::Timeout),
            ("read tcp 10.1.0.7:4242->10.1.0.8:9091: read: connection reset by peer", Failure::Reset),
            ("Get \"http://b\": EOF", Failure::Reset),
            ("dial tcp 10.0.0.1:9092: connect: connection refused", Failure::Other),
        ] {
            assert_eq!(Failure::of(text), failure, "{text}");
        }
    }
}
