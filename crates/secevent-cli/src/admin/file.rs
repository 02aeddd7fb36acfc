//! The file beside the store by which commands on the same machine find the running server, and are let in (SEM-24).

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The file of a running server. It goes away with this, so that nobody calls a server that has ended.
pub(crate) struct AdminFile {
    path: PathBuf,
    url: String,
    token: String,
}

/// What it says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Entrance {
    pub(crate) url: String,
    pub(crate) token: String,
    /// The only certificate that the server shows there, if it speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
}

impl AdminFile {
    /// Writes it, for a server that has the store and listens there. Only this user can read it.
    pub(crate) fn write(
        database: &Path,
        address: SocketAddr,
        token: &str,
        certificate: Option<&str>,
    ) -> anyhow::Result<Self> {
        let path = beside(database).context("the store has no name")?;
        let scheme = if certificate.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", reachable(address));
        let file = Self { path, url, token: token.to_owned() };
        file.write_with(certificate)?;
        Ok(file)
    }

    /// Writes it once more, with another certificate.
    pub(crate) fn write_with(&self, certificate: Option<&str>) -> anyhow::Result<()> {
        let (url, token) = (self.url.clone(), self.token.clone());
        let entrance = Entrance { url, token, certificate: certificate.map(str::to_owned) };
        let text = serde_json::to_string(&entrance).expect("texts are JSON");
        let write = || {
            // Readers see a whole file or none; what a server that was killed has left is replaced.
            let folder = self.path.parent().unwrap_or(Path::new("."));
            let mut file = tempfile::Builder::new().prefix(".secevent-admin-").tempfile_in(folder)?;
            writeln!(file, "{text}")?;
            file.persist(&self.path).map_err(|error| error.error)
        };
        write().map(drop).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Reads it, if there is one.
    pub(crate) fn read(database: &Path) -> io::Result<Option<Entrance>> {
        let path = match beside(database) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match std::fs::read(path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for AdminFile {
    fn drop(&mut self) {
        // What is left behind by mistake opens nothing: the next server has another token.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where it is. A store may have many names: they all lead to one file.
pub(crate) fn beside(database: &Path) -> io::Result<PathBuf> {
    let mut path = database.canonicalize()?.into_os_string();
    path.push(".admin");
    Ok(path.into())
}

/// Where a listener on this machine can be reached from it.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

impl std::fmt::Debug for AdminFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entrance").field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_find_the_server_by_any_name_of_its_store_as_long_as_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("events.db");
        assert!(AdminFile::read(&store).unwrap().is_none(), "there is not even a store");
        std::fs::write(&store, "").unwrap();
        let (address, path) = ("0.0.0.0:9".parse().unwrap(), folder.path().join("events.db.admin"));
        std::fs::write(&path, "left behind").unwrap();
        let file = AdminFile::write(&store, address, "a token", None).unwrap();
        let other_name = folder.path().join(".").join("events.db");
        let entrance = AdminFile::read(&other_name).unwrap().unwrap();
        assert_eq!((entrance.url.as_str(), entrance.token.as_str()), ("http://127.0.0.1:9", "a token"));
        assert!(!format!("{entrance:?}").contains("a token"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        drop(file);
        assert!(AdminFile::read(&store).unwrap().is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }
}
