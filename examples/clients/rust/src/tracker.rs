//! What a peer asks of the tracker. Each call proves the peer's key in its TLS handshake: that is how the tracker knows it.

use crate::{Result, identity::Identity};
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    path::Path,
    time::Duration,
};

const TIMEOUT: Duration = Duration::from_secs(10);
/// The event stream sends a comment every 25 seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// A documentation address: nobody has it, but it leads to the internet.
const ELSEWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 443));

#[derive(Clone, Debug, Deserialize)]
pub struct Broadcast {
    pub email: String,
    pub port: u16,
    pub addresses: Vec<IpAddr>,
    pub fingerprint: String,
}

pub enum Event {
    List(Vec<Broadcast>),
    Online(Broadcast),
    Offline(String),
}

#[derive(Debug, Deserialize)]
pub struct TrackerError {
    error: String,
    pub code: String,
    #[serde(skip)]
    pub is_temporary: bool,
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl fmt::Display for TrackerError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} ({})", self.error, self.code)
    }
}

impl std::error::Error for TrackerError {}

pub struct Tracker {
    url: Url,
    client: Client,
}

impl Tracker {
    /// `ca` is the PEM file of the tracker's authority, unless it is a public one.
    pub fn new(url: &str, ca: Option<&Path>, identity: &Identity) -> Result<Self> {
        let pem = format!("{}{}", identity.key_pem, identity.certificate_pem);
        let mut client = Client::builder()
            .https_only(true)
            .identity(reqwest::Identity::from_pem(pem.as_bytes())?)
            .connect_timeout(TIMEOUT)
            .read_timeout(SILENCE);
        if let Some(file) = ca {
            client =
                client.tls_certs_only(reqwest::Certificate::from_pem_bundle(&fs::read(file)?)?);
        }
        Ok(Self {
            url: Url::parse(url)?.join("/api/relay/")?,
            client: client.build()?,
        })
    }

    pub async fn register(&self, identity: &Identity) -> Result<()> {
        let body = json!({ "email": identity.email, "certificate": identity.certificate_pem });
        let request = self.client.post(self.url.join("register")?).json(&body);
        match self.call::<Value>(request).await {
            Ok(answer) if answer["email_verification"] == "pending" => {
                println!("now open the link that was sent to {}", identity.email)
            }
            // Registering the same pair again does no harm.
            Err(error) if !is_refusal(&*error, "already_registered") => return Err(error),
            _ => {}
        }
        Ok(())
    }

    /// `by` is `email` or `fingerprint`.
    pub async fn lookup(&self, by: &str, value: &str) -> Result<Broadcast> {
        let mut url = self.url.join("broadcast/lookup")?;
        url.query_pairs_mut().append_pair(by, value);
        self.call(self.client.get(url)).await
    }

    /// Returns how long to wait before announcing again.
    pub async fn announce(&self, port: u16) -> Result<Duration> {
        let mut own = own_address(self.url.socket_addrs(|| None)?[0])?;
        if own.is_loopback() {
            own = own_address(ELSEWHERE)?; // the tracker is on this machine
        }
        // 0.0.0.0 stands for the address at which the tracker sees us, perhaps a router's. It leaves that out if it is loopback.
        let body = json!({ "port": port, "addresses": [own.to_string(), "0.0.0.0".to_owned()] });
        let request = self
            .client
            .post(self.url.join("broadcast/ready")?)
            .timeout(TIMEOUT);
        let response = answered(request.json(&body)).await?;
        let seconds = response
            .headers()
            .get("Reannounce-After")
            .ok_or("no Reannounce-After")?;
        Ok(Duration::from_secs(seconds.to_str()?.parse()?))
    }

    /// Fails with `not_online` unless this peer is online.
    pub async fn own(&self) -> Result<Broadcast> {
        self.call(self.client.get(self.url.join("broadcast/ready")?))
            .await
    }

    pub async fn withdraw(&self) -> Result<()> {
        let request = self
            .client
            .delete(self.url.join("broadcast/ready")?)
            .timeout(TIMEOUT);
        answered(request).await.map(drop)
    }

    /// Reports who is online, from Server-Sent Events, until the stream ends.
    pub async fn events(&self, tell: impl Fn(Event)) -> Result<()> {
        let mut response = answered(self.client.get(self.url.join("broadcast/events")?)).await?;
        let (mut buffer, mut name, mut data) = (Vec::new(), String::new(), String::new());
        while let Some(chunk) = response.chunk().await? {
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8(buffer.drain(..=end).collect())?;
                match line.trim_end().split_once(": ") {
                    Some(("event", value)) => name = value.to_owned(),
                    Some(("data", value)) => data += value, // an event may have several of these lines
                    None if line.trim_end().is_empty() && !data.is_empty() => {
                        match name.as_str() {
                            "list" => tell(Event::List(serde_json::from_str(&data)?)),
                            "online" => tell(Event::Online(serde_json::from_str(&data)?)),
                            "offline" => {
                                let gone: Value = serde_json::from_str(&data)?;
                                tell(Event::Offline(
                                    gone["email"].as_str().unwrap_or_default().to_owned(),
                                ))
                            }
                            _ => {} // from a newer tracker
                        }
                        (name, data) = Default::default();
                    }
                    _ => {}
                }
            }
        }
        Err("the tracker ended the stream".into())
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        Ok(answered(request.timeout(TIMEOUT)).await?.json().await?)
    }
}

/// Which of our addresses leads there. Connecting a UDP socket sends nothing.
fn own_address(destination: SocketAddr) -> Result<IpAddr> {
    let unspecified = if destination.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let probe = UdpSocket::bind(unspecified)?;
    probe.connect(destination)?;
    Ok(probe.local_addr()?.ip())
}

pub fn is_refusal(error: &(dyn std::error::Error + 'static), code: &str) -> bool {
    error
        .downcast_ref::<TrackerError>()
        .is_some_and(|refusal| refusal.code == code)
}

/// The tracker's answer, unless it is an error.
async fn answered(request: RequestBuilder) -> Result<Response> {
    let response = request.send().await?;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(response);
    }
    let retry_after = response
        .headers()
        .get("Retry-After")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let refusal = response.json::<TrackerError>().await;
    let refusal = refusal
        .map_err(|_| format!("the server that answered with status {status} is not a tracker"))?;
    Err(Box::new(TrackerError {
        is_temporary: status == 429 || status.is_server_error(),
        retry_after: retry_after.map(Duration::from_secs),
        ..refusal
    }))
}
