//! Certificate authorities and certificates for tests of mutual TLS.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};

pub type Authority = CertifiedIssuer<'static, KeyPair>;

/// A new authority.
pub fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key in PEM, for a DNS name, an IP address or a URI.
pub fn issue(authority: &Authority, usage: ExtendedKeyUsagePurpose, name: &str) -> (String, String) {
    let pair = KeyPair::generate().unwrap();
    let is_uri = name.contains("://");
    let names = if is_uri { Vec::new() } else { vec![name.to_owned()] };
    let mut params = CertificateParams::new(names).unwrap();
    if is_uri {
        params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
    }
    params.extended_key_usages = vec![usage];
    (params.signed_by(&pair, authority).unwrap().pem(), pair.serialize_pem())
}
