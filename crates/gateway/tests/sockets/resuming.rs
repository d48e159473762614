//! Sessions outlive their sockets: what was missed is repeated once, in order, or the client is told to start over.

use crate::client::Client;
use crate::{GUILD, Scene, USUAL, message};

async fn reconnect(scene: &Scene, token: &str, session: &str, seen: u64) -> Client {
    let mut client = Client::connect(scene.at).await;
    // Before HELLO is read, as one library does.
    client.resume(token, session, seen).await;
    client.op(10).await;
    client.seen = seen;
    client
}

#[tokio::test]
async fn what_was_missed_is_repeated_in_order() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    client.dispatch("GUILD_CREATE").await;
    scene.world.commit(GUILD, message(1, 2, "one"));
    client.dispatch("MESSAGE_CREATE").await;
    let (session, seen) = (client.session.clone(), client.seen);
    drop(client);
    for n in 2..20 {
        scene.world.commit(GUILD, message(n, 2, &format!("{n}")));
    }
    let mut client = reconnect(&scene, &tokens[0], &session, seen).await;
    // RESUMED stands where the gateway stood: what it had not heard of by then follows live.
    let (mut n, mut resumed) = (2, 0);
    while n < 20 || resumed == 0 {
        let got = client.payload().await;
        if got["t"] == "RESUMED" {
            assert!(got["d"]["_trace"].is_array());
            resumed += 1;
        } else {
            assert_eq!(got["d"]["content"], format!("{n}"));
            n += 1;
        }
    }
    assert_eq!(resumed, 1);
    scene.world.commit(GUILD, message(20, 2, "live"));
    assert_eq!(client.dispatch("MESSAGE_CREATE").await["d"]["content"], "live");
}

#[tokio::test]
async fn every_replay_ends_with_its_own_resumed_and_has_no_other() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    client.dispatch("GUILD_CREATE").await;
    scene.world.commit(GUILD, message(1, 2, "one"));
    client.dispatch("MESSAGE_CREATE").await;
    let session = client.session.clone();
    for _ in 0..3 {
        client = reconnect(&scene, &tokens[0], &session, 2).await;
        client.dispatch("MESSAGE_CREATE").await;
        client.dispatch("RESUMED").await;
        client.nothing_else().await;
    }
    scene.world.commit(GUILD, message(2, 2, "two"));
    assert_eq!(client.dispatch("MESSAGE_CREATE").await["s"], 5);
    // Numbers are never given anew: that of the RESUMED before the message is passed over.
    client = reconnect(&scene, &tokens[0], &session, 2).await;
    client.dispatch("MESSAGE_CREATE").await;
    client.seen = 4;
    client.dispatch("MESSAGE_CREATE").await;
    client.dispatch("RESUMED").await;
    client.nothing_else().await;
}

#[tokio::test]
async fn a_resume_takes_the_session_from_a_socket_that_seems_open() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    let mut old = Client::identified(scene.at, &tokens[0], USUAL).await;
    old.dispatch("GUILD_CREATE").await;
    let mut new = reconnect(&scene, &tokens[0], &old.session.clone(), 1).await;
    new.dispatch("GUILD_CREATE").await;
    new.dispatch("RESUMED").await;
    assert_eq!(old.closed().await, Some(4000));
    scene.world.commit(GUILD, message(1, 2, "for the new one"));
    new.dispatch("MESSAGE_CREATE").await;
}

#[tokio::test]
async fn what_cannot_be_resumed_is_refused_and_the_socket_stays() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    client.dispatch("GUILD_CREATE").await;
    let session = client.session.clone();
    let foreign = format!("{}{}", &session[..20], "000000000000");
    for (token, session, seen) in [(0, &session, 99), (1, &session, 2), (0, &foreign, 2), (0, &"x".to_owned(), 2)] {
        let mut client = reconnect(&scene, &tokens[token], session, seen).await;
        let refusal = client.op(9).await;
        assert_eq!(refusal["d"], false);
        client.seen = 0;
        client.identify(&tokens[token], USUAL).await;
        client.dispatch("READY").await;
    }
    client.nothing_else().await;
    let mut client = reconnect(&scene, "nonsense", &session, 2).await;
    assert_eq!(client.closed().await, Some(4004));
}

#[tokio::test]
async fn only_a_normal_close_ends_the_session() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1]);
    for (code, resumes) in [(1000, false), (1001, false), (4000, true), (4200, true)] {
        let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
        client.dispatch("GUILD_CREATE").await;
        let session = client.close(code).await;
        let mut client = reconnect(&scene, &tokens[0], &session, 2).await;
        if resumes {
            client.dispatch("RESUMED").await;
        } else {
            client.op(9).await;
        }
    }
}

#[tokio::test]
async fn a_session_that_is_not_resumed_in_time_is_over() {
    let scene = Scene::with(|config| config.resume_window_s = 0);
    let tokens = scene.guild(&[1]);
    let session = Client::identified(scene.at, &tokens[0], USUAL).await.close(4000).await;
    scene.capture.wait_for_lines(|lines| lines.iter().any(|l| l["event"] == "session.ended")).await.expect("it ends");
    reconnect(&scene, &tokens[0], &session, 1).await.op(9).await;
}

#[tokio::test]
async fn a_broken_stream_is_followed_again_where_it_broke() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    client.dispatch("GUILD_CREATE").await;
    for round in 0..3 {
        scene.world.commit(GUILD, message(round * 10, 2, "before"));
        client.dispatch("MESSAGE_CREATE").await;
        scene.world.break_streams();
        scene.world.commit(GUILD, message(round * 10 + 1, 2, "meanwhile"));
        scene.world.recover();
        assert_eq!(client.dispatch("MESSAGE_CREATE").await["d"]["content"], "meanwhile");
    }
    client.nothing_else().await;
}

#[tokio::test]
async fn a_gap_that_nobody_can_fill_is_told() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    client.dispatch("GUILD_CREATE").await;
    scene.world.break_streams();
    scene.world.commit(GUILD, message(1, 2, "lost"));
    scene.world.truncate(GUILD);
    scene.world.recover();
    assert_eq!(client.op(9).await["d"], false);
    client.seen = 0;
    client.identify(&tokens[0], USUAL).await;
    client.dispatch("READY").await;
    client.dispatch("GUILD_CREATE").await;
    scene.world.commit(GUILD, message(2, 2, "after"));
    assert_eq!(client.dispatch("MESSAGE_CREATE").await["d"]["content"], "after");
}

#[tokio::test]
async fn a_stream_without_loss_is_no_gap() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    client.dispatch("GUILD_CREATE").await;
    scene.world.truncate(GUILD);
    scene.world.break_streams();
    scene.world.recover();
    scene.world.commit(GUILD, message(1, 2, "after"));
    assert_eq!(client.dispatch("MESSAGE_CREATE").await["d"]["content"], "after");
}

#[tokio::test]
async fn a_gap_in_a_stream_is_filled_from_the_log() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    let mut client = Client::identified(scene.at, &tokens[0], USUAL).await;
    client.dispatch("GUILD_CREATE").await;
    scene.world.commit_silently(GUILD, message(1, 2, "1"));
    for n in 2..5 {
        scene.world.commit(GUILD, message(n, 2, &n.to_string()));
    }
    for n in 1..5 {
        assert_eq!(client.dispatch("MESSAGE_CREATE").await["d"]["content"], n.to_string());
    }
    client.nothing_else().await;
}
