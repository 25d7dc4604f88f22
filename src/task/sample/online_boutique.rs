//! Online Boutique v0.10.6 (once Hipster Shop): eleven services in five languages, and Redis. Facts from
//! GoogleCloudPlatform/microservices-demo (ports, images, addresses, users, start times). Upstream's egress to
//! Google's APIs is left out: profiling is off, nothing else uses it.

use super::model::{Application, Component, Entry, PLAIN, Path, Port, Probe, WaitsFor};

/// The component that a command may leave out.
pub const LOAD_GENERATOR: &str = "loadgenerator";

const CATALOG: (&str, &str) = ("PRODUCT_CATALOG_SERVICE_ADDR", "productcatalogservice:3550");
const CURRENCY: (&str, &str) = ("CURRENCY_SERVICE_ADDR", "currencyservice:7000");
const CART: (&str, &str) = ("CART_SERVICE_ADDR", "cartservice:7070");
const SHIPPING: (&str, &str) = ("SHIPPING_SERVICE_ADDR", "shippingservice:50051");
const NO_PROFILER: (&str, &str) = ("DISABLE_PROFILER", "1");

const POD: Component = Component { user: Some(1000), read_only: true, ..PLAIN };
const GRPC: Component = Component { probe: Some(Probe::Grpc), ..POD };

const fn grpc(number: u16, target: u16) -> Port {
    Port { name: "grpc", number, target }
}

macro_rules! image {
    ($name:literal) => {
        concat!("us-central1-docker.pkg.dev/online-boutique-ci/microservices-demo/", $name, ":v0.10.6")
    };
}

/// The application.
pub const ONLINE_BOUTIQUE: Application = Application {
    name: "online-boutique",
    version: "v0.10.6",
    components: &[
        Component {
            name: "adservice",
            account: Some("adservice"),
            port: Some(grpc(9555, 9555)),
            image: image!("adservice"),
            env: &[("PORT", "9555")],
            starts_in: 20,
            cpu: 200,
            memory: 180,
            ..GRPC
        },
        Component {
            name: "cartservice",
            account: Some("cartservice"),
            port: Some(grpc(7070, 7070)),
            image: image!("cartservice"),
            env: &[("REDIS_ADDR", "redis-cart:6379")],
            starts_in: 15,
            cpu: 200,
            ..GRPC
        },
        Component {
            name: "checkoutservice",
            account: Some("checkoutservice"),
            port: Some(grpc(5050, 5050)),
            image: image!("checkoutservice"),
            env: &[
                ("PORT", "5050"),
                CATALOG,
                SHIPPING,
                ("PAYMENT_SERVICE_ADDR", "paymentservice:50051"),
                ("EMAIL_SERVICE_ADDR", "emailservice:5000"),
                CURRENCY,
                CART,
            ],
            ..GRPC
        },
        Component {
            name: "currencyservice",
            account: Some("currencyservice"),
            port: Some(grpc(7000, 7000)),
            image: image!("currencyservice"),
            env: &[("PORT", "7000"), NO_PROFILER],
            ..GRPC
        },
        Component {
            name: "emailservice",
            account: Some("emailservice"),
            port: Some(grpc(5000, 8080)),
            image: image!("emailservice"),
            env: &[("PORT", "8080"), NO_PROFILER],
            ..GRPC
        },
        Component {
            name: "paymentservice",
            account: Some("paymentservice"),
            port: Some(grpc(50051, 50051)),
            image: image!("paymentservice"),
            env: &[("PORT", "50051"), NO_PROFILER],
            ..GRPC
        },
        Component {
            name: "productcatalogservice",
            account: Some("productcatalogservice"),
            port: Some(grpc(3550, 3550)),
            image: image!("productcatalogservice"),
            env: &[("PORT", "3550"), NO_PROFILER],
            ..GRPC
        },
        Component {
            name: "recommendationservice",
            account: Some("recommendationservice"),
            port: Some(grpc(8080, 8080)),
            image: image!("recommendationservice"),
            env: &[("PORT", "8080"), CATALOG, NO_PROFILER],
            memory: 220,
            ..GRPC
        },
        Component {
            name: "redis-cart",
            port: Some(Port { name: "tcp-redis", number: 6379, target: 6379 }),
            image: "docker.io/library/redis:7.4.2-alpine", // upstream follows redis:alpine
            container: "redis",
            scratch: &["/data"],
            probe: Some(Probe::Tcp),
            cpu: 70,
            memory: 200,
            ..POD
        },
        Component {
            name: "shippingservice",
            account: Some("shippingservice"),
            port: Some(grpc(50051, 50051)),
            image: image!("shippingservice"),
            env: &[("PORT", "50051"), NO_PROFILER],
            ..GRPC
        },
        Component {
            name: "frontend",
            account: Some("frontend"),
            port: Some(Port { name: "http", number: 80, target: 8080 }),
            image: image!("frontend"),
            env: &[
                ("PORT", "8080"),
                CATALOG,
                CURRENCY,
                CART,
                ("RECOMMENDATION_SERVICE_ADDR", "recommendationservice:8080"),
                SHIPPING,
                ("CHECKOUT_SERVICE_ADDR", "checkoutservice:5050"),
                ("AD_SERVICE_ADDR", "adservice:9555"),
                // The frontend wants the address even where, as here, the optional assistant is not deployed.
                ("SHOPPING_ASSISTANT_SERVICE_ADDR", "shoppingassistantservice:80"),
                ("ENABLE_PROFILER", "0"),
            ],
            probe: Some(Probe::HttpWithCookie("/_healthz", "shop_session-id=x-readiness-probe")),
            starts_in: 10,
            outer_service: Some("frontend-external"),
            ..POD
        },
        Component {
            name: LOAD_GENERATOR,
            account: Some("loadgenerator"),
            image: image!("loadgenerator"),
            container: "main",
            env: &[("FRONTEND_ADDR", "frontend:80"), ("USERS", "10"), ("RATE", "1")],
            cpu: 300,
            memory: 256,
            waits_for: Some(WaitsFor { image: "docker.io/library/busybox:1.37.0", address: "frontend:80" }),
            ..POD
        },
    ],
    entry: Entry {
        gateway: "frontend-gateway",
        route: "frontend-ingress",
        service: "frontend",
        paths: &[Path::Prefix("/")],
        start: "/",
    },
};
