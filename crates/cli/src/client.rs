//! Talks to the running node of a data folder over its HTTP API.

use std::time::Duration;

use anthill_node::Home;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::CliError;

/// What `up` writes into the data folder while it runs.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct RunFile {
    /// Address of the API.
    pub http: String,
    /// Process id.
    pub pid: u32,
    /// Node key.
    pub node: String,
    /// Address of the open metrics, when there is one.
    #[serde(default)]
    pub metrics: Option<String>,
}

/// Name of the run file.
pub const RUN_FILE: &str = "run.json";

/// The API of one node.
pub struct Client {
    agent: ureq::Agent,
    base: String,
    token: String,
}

impl Client {
    /// The node that runs on this data folder.
    ///
    /// # Errors
    /// None runs.
    pub fn open(home: &Home) -> Result<Self, CliError> {
        let run: Option<RunFile> = home.load_json(RUN_FILE)?;
        let run = run.ok_or_else(|| CliError::NotRunning(home.path().display().to_string()))?;
        Self::at(&run.http, home)
    }

    /// The node at an address, with the token of a data folder.
    ///
    /// # Errors
    /// The token cannot be read.
    pub fn at(http: &str, home: &Home) -> Result<Self, CliError> {
        Ok(Self::with_token(http, &home.token()?))
    }

    /// The node at an address, with a token.
    pub fn with_token(http: &str, token: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(60)))
            .timeout_connect(Some(Duration::from_secs(3)))
            // The node hangs up on a connection that is silent for 10 s.
            .max_idle_age(Duration::from_secs(5))
            .http_status_as_error(false)
            .build();
        Self { agent: config.into(), base: format!("http://{http}"), token: token.into() }
    }

    /// Address of the API.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET, decoded from JSON.
    ///
    /// # Errors
    /// The node does not answer, or says no.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.decode(&self.get_bytes(path)?)
    }

    /// GET, as bytes.
    ///
    /// # Errors
    /// The node does not answer, or says no.
    pub fn get_bytes(&self, path: &str) -> Result<Vec<u8>, CliError> {
        let request = self.agent.get(format!("{}{path}", self.base));
        let response = request.header("authorization", format!("Bearer {}", self.token)).call();
        self.read(response)
    }

    /// POST of a JSON body, decoded from JSON.
    ///
    /// # Errors
    /// The node does not answer, or says no.
    pub fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, CliError> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let bytes = self.read(request.send_json(body))?;
        self.decode(&bytes)
    }

    /// POST of bytes, decoded from JSON.
    ///
    /// # Errors
    /// The node does not answer, or says no.
    pub fn post_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<T, CliError> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("content-type", kind);
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let bytes = self.read(request.send(body))?;
        self.decode(&bytes)
    }

    /// DELETE, decoded from JSON.
    ///
    /// # Errors
    /// The node does not answer, or says no.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let request = self.agent.delete(format!("{}{path}", self.base));
        let response = request.header("authorization", format!("Bearer {}", self.token)).call();
        self.decode(&self.read(response)?)
    }

    fn unreachable(&self, reason: impl ToString) -> CliError {
        CliError::Unreachable { address: self.base.clone(), reason: reason.to_string() }
    }

    fn read(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Vec<u8>, CliError> {
        let mut response = response.map_err(|e| self.unreachable(e))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(64 << 20).read_to_vec();
        let bytes = body.map_err(|e| self.unreachable(e))?;
        if (200..300).contains(&status) {
            return Ok(bytes);
        }
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let said = value.pointer("/error/message").and_then(|m| m.as_str());
        let text = String::from_utf8_lossy(&bytes);
        let message = said.map_or_else(|| text.chars().take(300).collect(), ToString::to_string);
        Err(CliError::Refused { status, message })
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, CliError> {
        serde_json::from_slice(bytes)
            .map_err(|e| CliError::Failed(format!("the node's answer is not understood: {e}; are node and command of the same version?")))
    }
}
