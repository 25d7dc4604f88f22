//! Bookinfo, Istio's own sample: four services, three versions of one of them. Facts from the Istio project's
//! samples/bookinfo (ports, images, labels, accounts); every image answers `/health`.

use super::model::{Application, Component, Entry, PLAIN, Path, Port, Probe};
use crate::observe::scrape;

const PORT: Port = Port { name: "http", number: 9080, target: 9080 };

const SERVICE: Component = Component {
    versions: &["v1"],
    port: Some(PORT),
    probe: Some(Probe::Http("/health")),
    cpu: 20,
    memory: 64,
    ..PLAIN
};

/// The application.
pub const BOOKINFO: Application = Application {
    name: "bookinfo",
    version: "1.20.3",
    components: &[
        Component {
            name: "details",
            container: "details",
            account: Some("bookinfo-details"),
            image: "docker.io/istio/examples-bookinfo-details-{version}:1.20.3",
            ..SERVICE
        },
        Component {
            name: "ratings",
            container: "ratings",
            account: Some("bookinfo-ratings"),
            image: "docker.io/istio/examples-bookinfo-ratings-{version}:1.20.3",
            ..SERVICE
        },
        Component {
            name: "reviews",
            versions: &["v1", "v2", "v3"], // without stars, with black ones, with red ones
            container: "reviews",
            account: Some("bookinfo-reviews"),
            image: "docker.io/istio/examples-bookinfo-reviews-{version}:1.20.3",
            env: &[("LOG_DIR", "/tmp/logs")],
            scratch: &["/tmp", "/opt/ibm/wlp/output"],
            cpu: 50,
            memory: 256, // a JVM
            ..SERVICE
        },
        Component {
            name: "productpage",
            container: "productpage",
            account: Some("bookinfo-productpage"),
            image: "docker.io/istio/examples-bookinfo-productpage-{version}:1.20.3",
            annotations: &[
                (scrape::ANNOTATION, "true"),
                (scrape::PORT_ANNOTATION, "9080"),
                (scrape::PATH_ANNOTATION, "/metrics"),
            ],
            scratch: &["/tmp"],
            ..SERVICE
        },
    ],
    entry: Entry {
        gateway: "bookinfo-gateway",
        route: "bookinfo",
        service: "productpage",
        paths: &[
            Path::Exact("/productpage"),
            Path::Exact("/login"),
            Path::Exact("/logout"),
            Path::Prefix("/static"),
            Path::Prefix("/api/v1/products"),
        ],
        start: "/productpage",
    },
};
