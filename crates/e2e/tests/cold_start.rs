//! The program as a newcomer meets it: its files, its probes, its settings, its end.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use clarion_e2e::Program;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clarion-under-test");

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_leaves_what_a_newcomer_needs() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let mut program = Program::start(Path::new(PROGRAM), data.path(), &[], &[]).await?;
    let file = data.path().join("demo.json");
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let demo = program.demo().clone();
    assert!(program.log().contains(&demo.bots[0].token), "the greeting shows a bot's token");
    let public = demo.api.trim_end_matches("/api").to_owned();
    for path in ["/healthz", "/healthz/", "/readyz", "/readyz/", "/health"] {
        let answer: Value = reqwest::get(format!("{public}{path}")).await?.error_for_status()?.json().await?;
        assert!(answer["status"].is_string(), "{path}: {answer}");
    }
    let ready: Value = reqwest::get(format!("{public}/readyz")).await?.json().await?;
    assert_eq!((&ready["ready"], &ready["shutting_down"]), (&true.into(), &false.into()));
    assert_eq!(
        program.api().get(&format!("/guilds/{}/channels", demo.guild_id)).await?.as_array().map(Vec::len),
        Some(3)
    );

    let id = program.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status()?.success());
    assert!(program.ended().await?.success(), "a drain ends well: {}", program.log());

    let again = Program::start(Path::new(PROGRAM), data.path(), &[], &[]).await?;
    assert_eq!((again.demo().guild_id, &again.demo().bots), (demo.guild_id, &demo.bots));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_named() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let run = |env: &[(&str, &str)], arguments: &[&str]| {
        let out =
            Command::new(PROGRAM).args(arguments).arg("--data").arg(data.path()).envs(env.iter().copied()).output();
        out.map(|out| (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned()))
    };
    let (ok, said) = run(&[("CLARION_GATEWAY__SHARDS", "many")], &[])?;
    assert!(!ok && said.contains("gateway.shards") && said.contains("many"), "{said}");
    let (ok, said) = run(&[("CLARION_GATEWAY__SOCKETS__LISTEN", "x")], &[])?;
    assert!(!ok && said.contains("sockets"), "{said}");
    let (ok, said) = run(&[("CLARION_DEMO", "perhaps")], &[])?;
    assert!(!ok && said.contains("demo") && said.contains("perhaps"), "{said}");
    let (ok, said) = run(&[], &["--config", "/no/such/file.toml"])?;
    assert!(!ok && said.contains("/no/such/file.toml"), "{said}");
    let (ok, said) = run(&[("CLARION_ADMIN__LISTEN", "0.0.0.0:0")], &["--listen", "127.0.0.1:0"])?;
    assert!(!ok && said.contains("admin.token"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_issued_and_revoked_from_the_command_line() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let program = Program::start(Path::new(PROGRAM), data.path(), &[], &[]).await?;
    let token_command = |arguments: &[&str]| {
        let out = Command::new(PROGRAM).arg("--data").arg(data.path()).arg("token").args(arguments).output();
        out.map(|out| (out.status.success(), String::from_utf8_lossy(&out.stdout).trim().to_owned()))
    };
    let (ok, token) = token_command(&["issue", "--user", &program.demo().users[0].id.to_string()])?;
    assert!(ok && !token.is_empty());
    let api = clarion_e2e::Api::new(&format!("{}/v10", program.demo().api), &token);
    assert_eq!(api.get("/users/@me").await?["username"], "ada");
    let (ok, _) = token_command(&["revoke", &token])?;
    assert!(ok);
    let (status, _) = api.call(reqwest::Method::GET, "/users/@me", None).await?;
    assert_eq!(status, 401);
    let (ok, _) = token_command(&["issue", "--user", "1234567890123456789"])?;
    assert!(!ok, "an account that does not exist gets no token");
    Ok(())
}
