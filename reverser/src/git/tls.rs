//! Certificates of servers whose CA is private.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

/// The certificates of `ca.crt`.
///
/// With one, it alone is trusted for this repository; the system's CAs are not, and no other repository is
/// affected (libgit2's own store of CAs is shared by the process and is left alone).
///
/// libgit2 shows the server's own certificate, not the chain that was sent with it. So that certificate has to be
/// signed by one of `ca.crt` directly: where an intermediate CA signs, it belongs into `ca.crt` too. Every certificate in it
/// is an anchor. The server's own, self-signed certificate may stand there as well. Revocation is not checked.
#[derive(Clone)]
pub(super) struct CaBundle {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl CaBundle {
    /// `None` where this is not PEM, or has no certificate.
    pub(super) fn parse(pem: &[u8]) -> Option<Self> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .ok()?;
        let anchors = certificates
            .iter()
            .map(|der| webpki::anchor_from_trusted_cert(der).map(|anchor| anchor.to_owned()))
            .collect::<Result<Vec<_>, _>>()
            .ok()?;
        (!anchors.is_empty()).then_some(Self {
            certificates,
            anchors,
        })
    }

    /// That `der` is valid now, for `host`, and issued by one of these.
    ///
    /// # Errors
    /// Why not, for a person.
    pub(super) fn verify(&self, der: &[u8], host: &str) -> Result<(), String> {
        let der = CertificateDer::from(der);
        let refused = |error: webpki::Error| {
            match error {
            webpki::Error::UnknownIssuer => {
                "the server's certificate is not issued by a certificate in ca.crt (an intermediate CA has to be in ca.crt too)"
                    .to_owned()
            }
            error => format!("the server's certificate is not accepted: {error:?}"),
        }
        };
        let certificate = EndEntityCert::try_from(&der).map_err(refused)?;
        let name =
            ServerName::try_from(host).map_err(|_| "the host is no valid name".to_owned())?;
        certificate
            .verify_is_valid_for_subject_name(&name)
            .map_err(|_| format!("the server's certificate is not valid for the name {host}"))?;
        let verified = certificate.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &self.anchors,
            &[],
            UnixTime::now(),
            KeyUsage::server_auth(),
            None,
            None,
        );
        match verified {
            Ok(_) => Ok(()),
            // A self-signed certificate made by `openssl req -x509` says that it is a CA. Listed itself, it is trusted
            // itself. Its dates have been checked by then: webpki looks at them before the constraints.
            Err(webpki::Error::CaUsedAsEndEntity) if self.certificates.contains(&der) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        (pem, Issuer::new(params, key))
    }

    fn leaf(host: &str, issuer: &Issuer<'static, KeyPair>) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.signed_by(&key, issuer).unwrap().der().to_vec()
    }

    #[test]
    fn certificate_of_the_ca_is_accepted_for_its_name_only() {
        let (pem, issuer) = authority("ours");
        let bundle = CaBundle::parse(pem.as_bytes()).unwrap();
        assert_eq!(
            bundle.verify(&leaf("git.example.com", &issuer), "git.example.com"),
            Ok(())
        );
        assert_eq!(
            bundle.verify(&leaf("127.0.0.1", &issuer), "127.0.0.1"),
            Ok(())
        );
        assert!(
            bundle
                .verify(&leaf("git.example.com", &issuer), "other.example.com")
                .is_err()
        );
    }

    #[test]
    fn certificate_of_another_ca_is_refused() {
        let (pem, _) = authority("ours");
        let (_, theirs) = authority("ours");
        let why = CaBundle::parse(pem.as_bytes())
            .unwrap()
            .verify(&leaf("h.example", &theirs), "h.example");
        assert!(why.is_err());
    }

    #[test]
    fn expired_certificate_is_refused() {
        let (pem, issuer) = authority("ours");
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["h.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let der = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        assert!(
            CaBundle::parse(pem.as_bytes())
                .unwrap()
                .verify(&der, "h.example")
                .is_err()
        );
    }

    #[test]
    fn self_signed_certificate_is_accepted_when_listed_itself() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["h.example".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let bundle = CaBundle::parse(certificate.pem().as_bytes()).unwrap();
        assert_eq!(bundle.verify(certificate.der(), "h.example"), Ok(()));
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let expired = params.self_signed(&key).unwrap();
        let bundle = CaBundle::parse(expired.pem().as_bytes()).unwrap();
        assert!(bundle.verify(expired.der(), "h.example").is_err());
    }

    #[test]
    fn what_is_no_certificate_is_no_bundle() {
        assert!(CaBundle::parse(b"").is_none());
        assert!(
            CaBundle::parse(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
                .is_none()
        );
    }
}
