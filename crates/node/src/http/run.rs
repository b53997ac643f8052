//! `/v1/run`: one built-in program on bytes, here or as a task on the network.

use anthill_types::Cid;
use anthill_types::task::program;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::{ApiError, App};
use crate::mesh::{self, Work};
use crate::programs::foretell;

/// What to run.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct RunRequest {
    /// The versioned name, for example `anthill/program/compress/1`.
    #[schema(pattern = "^anthill/program/[a-z-]{1,32}/[1-9]$")]
    pub program: String,
    /// Parameters, base64.
    #[schema(
        pattern = "^([0-9A-Za-z+/]{4})*([0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?$",
        max_length = 1368
    )]
    pub params: String,
    /// Input, base64.
    #[schema(pattern = "^([0-9A-Za-z+/]{4})*([0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?$")]
    pub input: String,
    /// Have the network's nodes do it as a task: those that are drawn see the input, and are paid. A
    /// piece to encrypt goes only to nodes to which its key was sealed here; where there is none, and to
    /// decrypt, this node does it.
    #[serde(default)]
    pub mesh: bool,
}

/// What came out.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct RunReply {
    /// Output, base64; absent when the run ended with a fault.
    pub output: Option<String>,
    /// `bad_input`, `cost_limit`, `output_limit`, `trap`, `bad_module` or `gave_up`.
    pub fault: Option<String>,
    /// Its reference cost.
    pub cost: u64,
    /// The task whose accepted output this is; absent when this node did it by itself.
    pub task: Option<String>,
    /// The nodes that gave it.
    pub workers: Vec<String>,
}

/// The programs that may be named.
pub const PROGRAMS: [&str; 9] = [
    program::EMBED_NAME,
    program::NOOP_NAME,
    program::MATCH_NAME,
    program::COMPRESS_NAME,
    program::DECOMPRESS_NAME,
    program::ENCRYPT_NAME,
    program::DECRYPT_NAME,
    program::DECODE_STAGE_NAME,
    program::SEARCH_NAME,
];

/// True when no module is meant by this content id.
pub fn is_builtin(program: &Cid) -> bool {
    static BUILT_IN: std::sync::LazyLock<[Cid; PROGRAMS.len()]> =
        std::sync::LazyLock::new(|| PROGRAMS.map(|name| Cid::of(name.as_bytes())));
    BUILT_IN.contains(program)
}

/// Runs a built-in program: on this node, or as a task whose result is accepted by the network.
#[utoipa::path(post, path = "/v1/run", request_body = RunRequest, responses((status = 200, body = RunReply), (status = 404), (status = 409), (status = 503)))]
pub async fn run(
    State(app): State<App>,
    input: Result<Json<RunRequest>, JsonRejection>,
) -> Result<Json<RunReply>, ApiError> {
    let Json(request) = input?;
    let shared = &app.handle.shared;
    let work = work(&app, &request)?;
    if shared.fleet.limits().is_paused() {
        return Err(ApiError::unavailable("this node is paused: `anthill resume` lets it work"));
    }
    let done = if request.mesh && mesh::can_run(shared, &work)? {
        let pending = mesh::submit(&app.handle, vec![work]).await?;
        let pending = pending.first().ok_or_else(|| ApiError::failed("no task was submitted"))?;
        mesh::finish(&app.handle, pending).await?
    } else {
        mesh::run_here(shared, &work).await?
    };
    let fault = done.result.as_ref().err().map(|fault| fault.name());
    Ok(Json(RunReply {
        output: done.result.ok().map(|bytes| BASE64.encode(&bytes)),
        fault: fault.map(str::to_string),
        cost: done.cost,
        task: done.task.map(|t| t.to_string()),
        workers: done.workers,
    }))
}

fn work(app: &App, request: &RunRequest) -> Result<Work, ApiError> {
    if !PROGRAMS.contains(&request.program.as_str()) {
        let named: String = request.program.chars().take(80).collect();
        let known = PROGRAMS.join(", ");
        return Err(ApiError::absent(format!("there is no program {named:?}, but {known}"))
            .with_code("program_not_found"));
    }
    let bytes = |name: &str, text: &str| {
        BASE64
            .decode(text.as_bytes())
            .map_err(|_| ApiError::bad(format!("{name} is not base64 (RFC 4648)")))
    };
    let params = bytes("params", &request.params)?;
    let input = bytes("input", &request.input)?;
    let program = Cid::of(request.program.as_bytes());
    let foretold = foretell(&app.handle.shared.models, &program, &params, &input);
    let foretold = foretold.ok_or_else(|| {
        ApiError::bad(format!(
            "parameters or input are not what {} takes, or its model is not here",
            request.program
        ))
    })?;
    Ok(Work { program, params, input, cost: foretold.cost, needs: foretold.needs })
}
