//! A peer of a Relay Tracker: `listen` stays online and accepts calls, `call EMAIL TEXT` sends a line to another peer.

mod identity;
mod peers;
mod tracker;

use identity::{Identity, fingerprint_of};
use std::{
    collections::HashMap, error::Error, path::Path, process::ExitCode, sync::Arc, time::Duration,
};
use tokio::{net::TcpListener, time::sleep};
use tracker::{Event, Tracker, TrackerError};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: relay-client --tracker URL [--ca PEM] --email ADDRESS --dir FOLDER listen | call EMAIL TEXT";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", explain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let (mut options, mut words) = (HashMap::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--") {
            Some(name) => drop(options.insert(name.to_owned(), arguments.next().ok_or(USAGE)?)),
            None => words.push(argument),
        }
    }
    let option = |name: &str| options.get(name).map(String::as_str).ok_or(USAGE);

    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a provider is already installed")?;
    let identity = Identity::load_or_create(Path::new(option("dir")?), option("email")?)?;
    let tracker = Tracker::new(
        option("tracker")?,
        option("ca").ok().map(Path::new),
        &identity,
    )?;
    tracker.register(&identity).await?;
    println!(
        "{} is registered with {}",
        identity.email,
        fingerprint_of(&identity.certificate)
    );
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["listen"] => listen(Arc::new(tracker), &identity).await,
        ["call", email, text] => peers::call(&tracker, &identity, email, text).await,
        _ => Err(USAGE.into()),
    }
}

async fn listen(tracker: Arc<Tracker>, identity: &Identity) -> Result<()> {
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    let port = listener.local_addr()?.port();
    let pause = tracker.announce(port).await?;
    println!("{} is online at port {port}", identity.email);
    let result = tokio::select! {
        result = stay_announced(&tracker, port, pause) => result,
        result = peers::accept(&tracker, identity, listener) => result,
        () = watch(&tracker) => Ok(()),
        result = interrupted() => result,
    };
    result.and(tracker.withdraw().await) // otherwise others would call in vain until the hour is over
}

async fn stay_announced(tracker: &Tracker, port: u16, mut pause: Duration) -> Result<()> {
    loop {
        sleep(pause).await;
        pause = match tracker.announce(port).await {
            Ok(pause) => pause,
            Err(error) => {
                let refusal = error.downcast_ref::<TrackerError>();
                if refusal.is_some_and(|refusal| !refusal.is_temporary) {
                    return Err(error); // for example, the certificate was revoked or has expired
                }
                let pause = refusal
                    .and_then(|refusal| refusal.retry_after)
                    .unwrap_or(Duration::from_secs(30));
                println!(
                    "could not announce, retrying in {pause:?}: {}",
                    explain(&*error)
                );
                pause
            }
        };
    }
}

/// Follows who is online: first everyone, then each change.
async fn watch(tracker: &Tracker) {
    loop {
        let end = tracker.events(|event| match event {
            Event::List(peers) if peers.is_empty() => println!("online now: nobody else"),
            Event::List(peers) => {
                let emails: Vec<_> = peers.into_iter().map(|peer| peer.email).collect();
                println!("online now: {}", emails.join(", "));
            }
            Event::Online(peer) => println!("online: {}", peer.email),
            Event::Offline(email) => println!("offline: {email}"),
        });
        if let Err(error) = end.await {
            println!("event stream lost, reconnecting: {}", explain(&*error));
        }
        sleep(Duration::from_secs(5)).await;
    }
}

async fn interrupted() -> Result<()> {
    #[cfg(unix)]
    {
        let mut terminated =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => Ok(result?),
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    Ok(tokio::signal::ctrl_c().await?)
}

/// An error and its causes: reqwest's own message says little about them.
fn explain(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", explain(cause)),
        None => error.to_string(),
    }
}
