//! How a client says who it is: as a [`kube::Config`] in this process, as a kubeconfig file for others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube::config::AuthInfo;
use serde_json::json;

use crate::certs::Identity;

/// Who a client is.
#[derive(Clone)]
pub(crate) enum Credential {
    /// A client certificate.
    Certificate(Identity),
    /// A bearer token.
    Token(String),
}

/// Where the apiserver is and how to know it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) ca_pem: String,
    pub(crate) ca_der: Vec<u8>,
}

// === impl Credential ===

impl Credential {
    pub(crate) fn auth_info(&self) -> AuthInfo {
        match self {
            Self::Certificate(identity) => AuthInfo {
                client_certificate_data: Some(BASE64.encode(&identity.certificate)),
                client_key_data: Some(BASE64.encode(&identity.key).into()),
                ..AuthInfo::default()
            },
            Self::Token(token) => AuthInfo {
                token: Some(token.clone().into()),
                ..AuthInfo::default()
            },
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// A kubeconfig with everything in it, as JSON, which is YAML too.
    pub(crate) fn kubeconfig(&self, credential: &Credential) -> String {
        let user = match credential {
            Credential::Certificate(identity) => json!({
                "client-certificate-data": BASE64.encode(&identity.certificate),
                "client-key-data": BASE64.encode(&identity.key),
            }),
            Credential::Token(token) => json!({ "token": token }),
        };
        let cluster = json!({
            "server": self.url,
            "certificate-authority-data": BASE64.encode(&self.ca_pem),
        });
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": cluster }],
            "users": [{ "name": "test", "user": user }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "current-context": "test",
        });
        format!("{kubeconfig:#}\n")
    }

    /// # Panics
    /// If our own URL is none.
    pub(crate) fn client(&self, auth_info: AuthInfo) -> kube::Client {
        self.client_that_retries(true, auth_info)
    }

    /// A client that passes every answer on, or one that tries again by itself where the apiserver is busy.
    ///
    /// # Panics
    /// If our own URL is none.
    pub(crate) fn client_that_retries(&self, retries: bool, auth_info: AuthInfo) -> kube::Client {
        crate::certs::install_crypto_provider();
        let url = self
            .url
            .parse()
            .unwrap_or_else(|error| panic!("{} is no URL: {error}", self.url));
        let mut config = kube::Config::new(url);
        config.root_cert = Some(vec![self.ca_der.clone()]);
        config.auth_info = auth_info;
        config.default_retry = retries;
        kube::Client::try_from(config)
            .unwrap_or_else(|error| panic!("a client for {}: {error}", self.url))
    }
}

/// Enough to talk to the apiserver without the control plane at hand.
#[derive(Clone)]
pub(crate) struct Access {
    pub(super) endpoint: Endpoint,
    pub(super) credential: Credential,
}

// === impl Access ===

impl Access {
    /// A client bound to the calling runtime.
    pub(crate) fn client(&self) -> kube::Client {
        self.endpoint.client(self.credential.auth_info())
    }
}
