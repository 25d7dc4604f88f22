//! Container image references: the repository without registry, tag and digest.

/// Last two parts of the repository's path, such as `prom/prometheus` of `docker.io/prom/prometheus:v3.5.0@sha256:…`.
/// A mirror's own prefix before them is left out.
#[must_use]
pub fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let slash = image.rfind('/').map_or(0, |slash| slash + 1);
    let end = image[slash..].find(':').map_or(image.len(), |colon| slash + colon);
    let path = &image[..end];
    match path.rmatch_indices('/').nth(1) {
        Some((second, _)) => &path[second + 1..],
        None => path,
    }
}

/// Last part of the repository's path, such as `prometheus`.
#[must_use]
pub fn name(image: &str) -> &str {
    let path = repository(image);
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_tags_and_digests_are_left_out() {
        for (image, path, last) in [
            ("prom/prometheus:v3.5.0", "prom/prometheus", "prometheus"),
            ("docker.io/prom/prometheus", "prom/prometheus", "prometheus"),
            ("registry.example:5000/mirror/prom/prometheus:v3@sha256:aa", "prom/prometheus", "prometheus"),
            ("registry.example:5000/prometheus", "registry.example:5000/prometheus", "prometheus"),
            ("grafana", "grafana", "grafana"),
            ("", "", ""),
        ] {
            assert_eq!((repository(image), name(image)), (path, last), "{image}");
        }
    }
}
