//! Members on request: what a session is told depends on what it asked to hear of.

use clarion_model::presence::{Presence, Status};
use serde_json::{Value, json};

use crate::client::Client;
use crate::{GUILD, Scene, user};

const MEMBERS: u64 = 1 | 1 << 1;

async fn chunk(client: &mut Client, d: Value) -> Value {
    let mut ask = json!({"op": 8, "d": {"guild_id": GUILD.0}});
    ask["d"].as_object_mut().expect("an object").extend(d.as_object().expect("an object").clone());
    client.say(ask).await;
    client.dispatch("GUILD_MEMBERS_CHUNK").await["d"].clone()
}

fn names(chunk: &Value) -> Vec<&str> {
    let members = chunk["members"].as_array().expect("a list");
    members.iter().filter_map(|m| m["user"]["username"].as_str()).collect()
}

#[tokio::test]
async fn members_are_told_on_request() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2, 3]);
    let mut client = Client::identified(scene.at, &tokens[0], MEMBERS).await;
    client.dispatch("GUILD_CREATE").await;
    let all = chunk(&mut client, json!({"query": "", "limit": 0, "nonce": "n"})).await;
    assert_eq!(names(&all).len(), 3);
    assert_eq!((&all["chunk_count"], &all["nonce"]), (&json!(1), &json!("n")));
    let some = chunk(&mut client, json!({"guild_id": [GUILD.0.to_string()], "user_ids": ["1000002", 5]})).await;
    assert_eq!((names(&some), &some["not_found"]), (vec!["user2"], &json!(["5"])));
}

#[tokio::test]
async fn who_did_not_ask_for_members_does_not_get_them_all() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2, 3]);
    let mut client = Client::identified(scene.at, &tokens[0], 1).await;
    client.dispatch("GUILD_CREATE").await;
    for (query, limit, found) in [("", 0, vec!["user1"]), ("", 5, vec!["user1"]), ("user2", 1, vec!["user2"])] {
        let got = chunk(&mut client, json!({"query": query, "limit": limit})).await;
        assert_eq!(names(&got), found, "{query:?}");
    }
    let got = chunk(&mut client, json!({"user_ids": [user(2).id.0]})).await;
    assert_eq!(names(&got), ["user2"]);
}

#[tokio::test]
async fn presences_are_for_those_who_asked_to_hear_of_them() {
    let scene = Scene::new();
    let tokens = scene.guild(&[1, 2]);
    let mut hearing = Client::identified(scene.at, &tokens[0], MEMBERS | 1 << 8).await;
    hearing.dispatch("GUILD_CREATE").await;
    let mut deaf = Client::identified(scene.at, &tokens[0], MEMBERS).await;
    deaf.dispatch("GUILD_CREATE").await;
    let presence = Presence { status: Status::Dnd, ..Presence::default() };
    scene.world.show(user(2).id, &presence);
    hearing.dispatch("PRESENCE_UPDATE").await;
    let ask = json!({"query": "", "limit": 0, "presences": true});
    assert_eq!(chunk(&mut hearing, ask.clone()).await["presences"][0]["status"], "dnd");
    assert_eq!(chunk(&mut deaf, ask).await.get("presences"), None);
}
