//! The demo workspace: what a first start makes, so that there is somebody to talk and somewhere to be heard.
//!
//! What is to be made is decided and written down first (`demo.json.new`), then made, then named `demo.json`: a start that
//! is cut short goes on with the same workspace.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use clarion_gateway::{DemoAccount, DemoWorkspace};
use clarion_model::guild::{Channel, ChannelKind, Guild, GuildState, Member, Role};
use clarion_model::id::{ChannelId, GuildId, RoleId, UserId};
use clarion_model::permission::Permissions;
use clarion_model::time::Timestamp;
use clarion_model::token;
use clarion_model::user::User;
use clarion_observability::log::{self, Fields};
use clarion_router::Admin;
use serde::{Deserialize, Serialize};

const FILE: &str = "demo.json";
const DRAFT: &str = "demo.json.new";
const GUILD_NAME: &str = "Clarion demo";

/// What `demo.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demo {
    /// Base of the REST API, without a version.
    pub api: String,
    /// Base of the gateway.
    pub gateway: String,
    /// The admin port.
    pub admin: String,
    /// The guild.
    pub guild_id: GuildId,
    /// Its first text channel.
    pub channel_id: ChannelId,
    /// Its second text channel.
    pub second_channel_id: ChannelId,
    /// Its voice channel.
    pub voice_channel_id: ChannelId,
    /// The role of the bots.
    pub bot_role_id: RoleId,
    /// Bots with all permissions.
    pub bots: Vec<Account>,
    /// People; the first owns the guild.
    pub users: Vec<Account>,
}

/// An account with its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: UserId,
    /// A token that holds.
    pub token: String,
}

/// The addresses that clients are told.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Host and port of the public listener.
    pub public: String,
    /// Host and port of the admin port.
    pub admin: String,
}

/// The workspace of a data folder: makes it when the store is new (or its making was cut short), and brings the
/// addresses in its file up to date. `None` when this store has no demo workspace.
pub async fn prepare(
    data: &Path,
    store_is_new: bool,
    admin: &Admin,
    addresses: &Addresses,
) -> anyhow::Result<Option<Demo>> {
    let (file, draft) = (data.join(FILE), data.join(DRAFT));
    if let Some(mut demo) = read(&file)? {
        demo.set_addresses(addresses);
        write(&file, &demo)?;
        return Ok(Some(demo));
    }
    let mut demo = match read(&draft)? {
        Some(demo) => demo,
        None if store_is_new => Demo::plan(admin)?,
        None => return Ok(None),
    };
    demo.set_addresses(addresses);
    write(&draft, &demo)?;
    demo.make(admin).await?;
    fs::rename(&draft, &file).with_context(|| format!("cannot name {}", file.display()))?;
    log::DEMO_CREATED.emit(Fields::default());
    Ok(Some(demo))
}

impl Demo {
    fn plan(admin: &Admin) -> anyhow::Result<Self> {
        Ok(Self {
            api: String::new(),
            gateway: String::new(),
            admin: String::new(),
            guild_id: GuildId(admin.new_id()?),
            channel_id: ChannelId(admin.new_id()?),
            second_channel_id: ChannelId(admin.new_id()?),
            voice_channel_id: ChannelId(admin.new_id()?),
            bot_role_id: RoleId(admin.new_id()?),
            bots: vec![Account::plan(admin, "echo")?, Account::plan(admin, "relay")?],
            users: vec![Account::plan(admin, "ada")?, Account::plan(admin, "grace")?],
        })
    }

    fn set_addresses(&mut self, addresses: &Addresses) {
        self.api = format!("http://{}/api", addresses.public);
        self.gateway = format!("ws://{}", addresses.public);
        self.admin = format!("http://{}", addresses.admin);
    }

    async fn make(&self, admin: &Admin) -> anyhow::Result<()> {
        for (account, bot) in self.accounts() {
            admin.create_user(account.user(bot)).await?;
            admin.register_token(&account.token, "demo").await?;
        }
        admin.create_guild(self.guild()).await?;
        Ok(())
    }

    /// What the web client offers to whoever sits at this machine.
    pub fn workspace(&self) -> DemoWorkspace {
        let account = |(account, bot): (&Account, bool)| DemoAccount {
            name: account.name.clone(),
            id: account.id,
            token: account.token.clone(),
            bot,
        };
        DemoWorkspace {
            guild_id: self.guild_id,
            channel_id: self.channel_id,
            accounts: self.accounts().map(account).collect(),
            traces: format!("{}/debug/traces", self.admin),
        }
    }

    fn accounts(&self) -> impl Iterator<Item = (&Account, bool)> {
        self.bots.iter().map(|a| (a, true)).chain(self.users.iter().map(|a| (a, false)))
    }

    fn guild(&self) -> GuildState {
        let joined_at: Timestamp = SystemTime::now().into();
        let guild = Guild { id: self.guild_id, name: GUILD_NAME.to_owned(), owner_id: self.users[0].id };
        let mut state = GuildState::new(guild, role(self.guild_id.everyone(), "@everyone", 0, Permissions::DEFAULT));
        let bots = role(self.bot_role_id, "bots", 1, Permissions::ALL);
        state.roles.insert(bots.id, bots);
        state.channels = BTreeMap::from([
            channel(self.channel_id, "general", ChannelKind::Text, 0),
            channel(self.second_channel_id, "random", ChannelKind::Text, 1),
            channel(self.voice_channel_id, "lounge", ChannelKind::Voice, 2),
        ]);
        for (account, bot) in self.accounts() {
            let roles = if bot { vec![self.bot_role_id] } else { Vec::new() };
            let member = Member { user: account.user(bot), nick: None, roles, joined_at, mute: false, deaf: false };
            state.members.insert(account.id, member.into());
        }
        state
    }

    /// What a newcomer needs to see.
    pub fn greeting(&self) -> String {
        let Self { api, admin, channel_id, .. } = self;
        let web = api.trim_end_matches("api");
        let token = self.bots.first().map_or("", |bot| bot.token.as_str());
        format!(
            r#"
Clarion is listening. Open {web} in a browser and choose who to be.

  API      {api}/v10
  Gateway  {}
  Operate  {admin}/debug/traces   {admin}/metrics

A bot that says hello (npm install discord.js, then save as hello.mjs and run it with node):

  import {{ Client, GatewayIntentBits as I }} from 'discord.js'
  const bot = new Client({{
    intents: [I.Guilds, I.GuildMessages, I.MessageContent],
    rest: {{ api: '{api}' }},
  }})
  bot.on('messageCreate', m => console.log(`${{m.author.username}}: ${{m.content}}`))
  bot.once('clientReady', async () => (await bot.channels.fetch('{channel_id}')).send('hello'))
  bot.login('{token}')
"#,
            self.gateway
        )
    }
}

impl Account {
    fn plan(admin: &Admin, name: &str) -> anyhow::Result<Self> {
        let id = UserId(admin.new_id()?);
        let mut secret = [0; token::SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
        Ok(Self { name: name.to_owned(), id, token: token::mint(id, SystemTime::now().into(), &secret) })
    }

    fn user(&self, bot: bool) -> User {
        User { id: self.id, username: self.name.clone(), global_name: None, bot }
    }
}

fn role(id: RoleId, name: &str, position: u32, permissions: Permissions) -> Role {
    Role { id, name: name.to_owned(), color: 0, hoist: false, position, permissions, mentionable: false }
}

fn channel(id: ChannelId, name: &str, kind: ChannelKind, position: u32) -> (ChannelId, Channel) {
    let channel = Channel { position, ..Channel::new(id, kind, name) };
    (id, channel)
}

fn read(path: &Path) -> anyhow::Result<Option<Demo>> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let demo = serde_json::from_str(&text);
            Ok(Some(demo.with_context(|| format!("{} is not what this program wrote", path.display()))?))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Replaces the file at once and whole; nobody else may read it, it holds tokens.
fn write(path: &Path, demo: &Demo) -> anyhow::Result<()> {
    let beside = path.with_extension("tmp");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(serde_json::to_string_pretty(demo)?.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}
