//! Names of container images. Pure.

/// Puts a mirror in the place of the registry's host and keeps the path, as pull-through caches expect.
pub fn mirrored(image: &str, registry: Option<&str>) -> String {
    match (registry, image.split_once('/')) {
        (Some(registry), Some((_, path))) => format!("{}/{path}", registry.trim_end_matches('/')),
        _ => image.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_takes_the_place_of_the_registry() {
        let named = "docker.io/istio/examples-bookinfo-details-v1:1.20.3";
        assert_eq!(mirrored(named, None), named);
        assert_eq!(
            mirrored(named, Some("mirror.example:5000/hub/")),
            "mirror.example:5000/hub/istio/examples-bookinfo-details-v1:1.20.3"
        );
    }
}
