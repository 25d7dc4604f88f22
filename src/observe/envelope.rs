//! Answers of Prometheus' HTTP API, read with bounds. Format: Prometheus documentation, "HTTP API".

use serde::Deserialize;
use serde_json::Value;

/// Largest answer that is read, bytes.
pub const MAX_ANSWER: usize = 8 << 20;
/// Maximum number of series of one answer.
pub const MAX_SERIES: usize = 20_000;

/// HTTP status and body of one answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// Body, at most [`MAX_ANSWER`] bytes.
    pub body: String,
}

/// Successful answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryAnswer {
    /// One entry for each series. A scalar is one series without labels.
    pub series: Vec<Series>,
    /// Warnings of the server, such as truncated or partial results.
    pub warnings: Vec<String>,
}

impl QueryAnswer {
    /// The series with this value of a label.
    #[must_use]
    pub fn with(&self, label: &str, value: &str) -> Self {
        let series = self.series.iter().filter(|series| series.label(label) == value).cloned().collect();
        Self { series, warnings: self.warnings.clone() }
    }
}

/// One series: its labels and its samples, oldest first. An instant query has one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Labels without `__name__`.
    pub labels: Vec<(String, String)>,
    /// Seconds since the Unix epoch and value. Values may be NaN or infinite.
    pub samples: Vec<(f64, f64)>,
}

impl Series {
    /// Value of a label; empty when the series does not have it, as in `PromQL`.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The newest sample's value.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.samples.last().map(|(_, value)| *value)
    }
}

/// Why an answer is not one to a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// 401 or 403, or a redirect to a login page.
    #[error("the server refuses the request (HTTP {status})")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// Prometheus in agent mode has no query engine.
    #[error("the server is a Prometheus in agent mode, which stores nothing and answers no queries")]
    Agent,
    /// The API's own error.
    #[error("the server refuses the query: {kind}: {message}")]
    Query {
        /// Such as `bad_data` or `execution`.
        kind: String,
        /// The server's text, at most 300 characters.
        message: String,
        /// HTTP status.
        status: u16,
    },
    /// 502, 503 or 504 of a proxy, or of a server that starts.
    #[error("the server is not ready (HTTP {status}): {text}")]
    NotReady {
        /// HTTP status.
        status: u16,
        /// Beginning of the body.
        text: String,
    },
    /// A response of another program: HTML, another JSON document, an empty body.
    #[error("the response (HTTP {status}) is not from the HTTP API of {api}: {reason}")]
    Foreign {
        /// The expected API: `Prometheus` or `Grafana`.
        api: &'static str,
        /// HTTP status.
        status: u16,
        /// What the server returned instead.
        reason: String,
    },
    /// The response has more series than the limit.
    #[error("the response has more than {MAX_SERIES} series")]
    TooLarge,
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Value,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default, rename = "isPartial")]
    is_partial: bool,
}

/// Reads an answer's `data`.
///
/// # Errors
/// [`Unusable`].
pub fn data(answer: &Answer) -> Result<(Value, Vec<String>), Unusable> {
    let status = answer.status;
    if is_refused(status) {
        return Err(Unusable::Refused { status });
    }
    let envelope: Envelope = serde_json::from_str(&answer.body)
        .map_err(|_| if is_not_ready(status) { not_ready(answer) } else { foreign(answer, PROMETHEUS) })?;
    if envelope.status == "error" {
        if envelope.error.contains("unavailable with Prometheus Agent") {
            return Err(Unusable::Agent);
        }
        return Err(Unusable::Query { kind: envelope.error_type, message: cut(&envelope.error, 300), status });
    }
    if envelope.status != "success" {
        return Err(foreign(answer, PROMETHEUS));
    }
    let mut warnings: Vec<String> = envelope.warnings.iter().take(10).map(|text| cut(text, 300)).collect();
    if envelope.is_partial {
        warnings.push("the answer is partial: some storage nodes did not answer".to_owned());
    }
    Ok((envelope.data, warnings))
}

/// Reads the answer to Grafana's `/api/health`. A Grafana without its database answers 503, and as a Grafana.
///
/// # Errors
/// [`Unusable`].
pub fn health(answer: &Answer) -> Result<Value, Unusable> {
    let status = answer.status;
    let health: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    if health["database"].is_string() {
        Ok(health)
    } else if is_refused(status) {
        Err(Unusable::Refused { status })
    } else if is_not_ready(status) {
        Err(not_ready(answer))
    } else {
        Err(foreign(answer, GRAFANA))
    }
}

/// Name of the API in [`Unusable::Foreign`].
const PROMETHEUS: &str = "Prometheus";
/// Name of the API in [`Unusable::Foreign`].
pub const GRAFANA: &str = "Grafana";

fn is_refused(status: u16) -> bool {
    matches!(status, 401 | 403) || (300..400).contains(&status)
}

fn is_not_ready(status: u16) -> bool {
    matches!(status, 502..=504)
}

/// A Prometheus that replays its write-ahead log answers 503 with the text `Service Unavailable`.
fn not_ready(answer: &Answer) -> Unusable {
    Unusable::NotReady { status: answer.status, text: cut(answer.body.trim(), 80) }
}

/// Reads the answer to `query` or `query_range`.
///
/// # Errors
/// [`Unusable`].
pub fn query(answer: &Answer) -> Result<QueryAnswer, Unusable> {
    let (data, warnings) = data(answer)?;
    let result = &data["result"];
    let series = match data["resultType"].as_str() {
        Some("scalar" | "string") => {
            vec![Series { labels: Vec::new(), samples: sample(result).into_iter().collect() }]
        }
        Some("vector" | "matrix") => {
            let all = result.as_array().map_or(&[][..], Vec::as_slice);
            if all.len() > MAX_SERIES {
                return Err(Unusable::TooLarge);
            }
            all.iter().map(series).collect()
        }
        _ => return Err(foreign(answer, PROMETHEUS)),
    };
    Ok(QueryAnswer { series, warnings })
}

fn series(one: &Value) -> Series {
    let labels = one["metric"].as_object().into_iter().flatten();
    let labels = labels
        .filter(|(key, _)| *key != "__name__")
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    let samples = match one["values"].as_array() {
        Some(values) => values.iter().filter_map(sample).collect(),
        None => sample(&one["value"]).into_iter().collect(),
    };
    Series { labels, samples }
}

/// `[<seconds>, "<value>"]`.
fn sample(pair: &Value) -> Option<(f64, f64)> {
    let time = pair.get(0)?.as_f64()?;
    let value = match pair.get(1)?.as_str()? {
        "+Inf" | "Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().ok()?,
    };
    Some((time, value))
}

/// The error for an answer that is not one of this API.
#[must_use]
pub fn foreign(answer: &Answer, api: &'static str) -> Unusable {
    let body = answer.body.trim_start();
    let reason = if body.is_empty() {
        "the body is empty".to_owned()
    } else if body.starts_with('<') {
        "the body is HTML, such as a login page".to_owned()
    } else {
        format!("the body begins with {:?}", cut(body, 40))
    };
    Unusable::Foreign { api, status: answer.status, reason }
}

/// At most `most` characters, without control characters.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.to_owned() }
    }

    #[test]
    fn vectors_matrices_and_scalars_are_read() {
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","job":"istiod"},"value":[1.5,"+Inf"]}]},"warnings":["w"]}"#;
        let read = query(&answer(200, vector)).unwrap();
        assert_eq!(read.series[0].label("job"), "istiod");
        assert_eq!(read.series[0].samples, [(1.5, f64::INFINITY)]);
        assert_eq!((read.series[0].label("absent"), read.warnings.as_slice()), ("", &["w".to_owned()][..]));
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{},"values":[[1,"1"],[2,"NaN"],["x"],[3]]}]}}"#;
        assert_eq!(query(&answer(200, matrix)).unwrap().series[0].samples.len(), 2);
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[7,"1"]}}"#;
        assert_eq!(query(&answer(200, scalar)).unwrap().series[0].last(), Some(1.0));
    }

    #[test]
    fn responses_of_other_servers_are_recognized() {
        for (status, body) in [
            (200, "<!doctype html><title>Log in</title>"),
            (200, ""),
            (200, r#"{"status":"ok"}"#),
            (200, r#"{"status":"success","data":{"resultType":"streams","result":[]}}"#),
            (400, "missing route"),
            (200, "{\"status\":\"success\",\"data\":"),
        ] {
            assert!(matches!(query(&answer(status, body)), Err(Unusable::Foreign { .. })), "{body}");
        }
        assert_eq!(query(&answer(302, "")), Err(Unusable::Refused { status: 302 }));
        assert_eq!(query(&answer(401, "{}")), Err(Unusable::Refused { status: 401 }));
    }

    #[test]
    fn health_of_a_grafana_is_recognized() {
        let of = |status, body| health(&answer(status, body));
        assert_eq!(of(200, r#"{"database":"ok","version":"12.0.1"}"#).unwrap()["version"], "12.0.1");
        assert!(of(503, r#"{"database":"failing"}"#).is_ok(), "it is a Grafana whose database does not answer");
        for status in [502, 503, 504] {
            assert!(matches!(of(status, "<html>Bad Gateway</html>"), Err(Unusable::NotReady { .. })), "{status}");
        }
        assert_eq!(of(302, ""), Err(Unusable::Refused { status: 302 }));
        let page = of(200, "<!doctype html>").unwrap_err();
        assert!(page.to_string().contains("not from the HTTP API of Grafana"), "{page}");
    }

    #[test]
    fn api_errors_are_classified() {
        let agent = r#"{"status":"error","errorType":"execution","error":"unavailable with Prometheus Agent"}"#;
        assert_eq!(query(&answer(422, agent)), Err(Unusable::Agent));
        let bad = r#"{"status":"error","errorType":"bad_data","error":"parse error\u0007"}"#;
        let Err(Unusable::Query { kind, message, .. }) = query(&answer(400, bad)) else { panic!() };
        assert_eq!((kind.as_str(), message.as_str()), ("bad_data", "parse error"));
    }

    #[test]
    fn partial_answers_carry_a_warning() {
        let partial = r#"{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}"#;
        assert_eq!(query(&answer(200, partial)).unwrap().warnings.len(), 1);
    }
}
