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
    let mut params = if name.contains("://") {
        let subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
        CertificateParams { subject_alt_names, ..CertificateParams::default() }
    } else {
        CertificateParams::new(vec![name.to_owned()]).unwrap()
    };
    params.extended_key_usages = vec![usage];
    (params.signed_by(&pair, authority).unwrap().pem(), pair.serialize_pem())
}
