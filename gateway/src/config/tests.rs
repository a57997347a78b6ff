use std::fs;
use std::time::Duration;

use super::*;
use crate::message::Mode;

fn environment(name: &str) -> Option<String> {
    (name == "TOKEN").then(|| "open-sesame".to_owned())
}

fn read(text: &str) -> Result<Config, Mistakes> {
    check(Path::new("kamf.yaml"), text, &environment)
}

fn mistakes(text: &str) -> Vec<String> {
    read(text).unwrap_err().to_string().lines().map(str::to_owned).collect()
}

#[test]
fn nothing_is_a_configuration() {
    let config = read("").unwrap();
    assert_eq!(config.public.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.delivery.default.mode, Mode::Relay);
    assert_eq!(config.limits.body_bytes, 1024 * 1024);
    assert_eq!(config.public.base_url("127.0.0.1:1".parse().unwrap()), "http://127.0.0.1:1");
}

#[test]
fn the_example_at_the_top_of_the_repository_is_without_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    fs::write(&path, include_str!("../../../kamf.yaml")).unwrap();
    fs::create_dir(folder.path().join("policies")).unwrap();
    let config = load(&path).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.servers.len(), 3);
    let Transport::Stdio(ledger) = &config.servers["ledger"].transport else { panic!("ledger is stdio") };
    assert_eq!(ledger.args, ["demo", "ledger", "--file", "data/ledger.jsonl"]);
    let keys: Vec<_> = config.identity.keys.iter().map(|key| (key.name.as_str(), key.sha256)).collect();
    for (name, sha256) in keys {
        let hash: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash_key(&format!("{name}-demo-key")), format!("sha256:{hash}"));
    }
    assert_eq!(config.prices.models["advisor-1"].input_per_million, 2_500_000);
    let commands = config.welcome.unwrap();
    assert_eq!(commands.lines().filter(|line| line.starts_with("curl ")).count(), 5);
}

#[test]
fn all_mistakes_come_at_once_each_with_its_place() {
    let text = "public:\n  lisen: 127.0.0.1:80\n  tls: {certificate: none.pem}\nlimits:\n  header: 10\n  \
                body_bytes: 3 apples\nagents:\n  a/b: {url: http://x/}\n  c: {}\ntelemetry: {json: \"yes\"}\n";
    assert_eq!(
        mistakes(text),
        [
            "kamf.yaml:2:3: public.lisen: there is no such setting; did you mean `listen`?",
            "kamf.yaml:3:8: public.tls: `key` is missing",
            "kamf.yaml:3:22: public.tls.certificate: there is no file none.pem",
            "kamf.yaml:5:11: limits.header: `10` is no duration; write number and unit, as in 10s or 250ms",
            "kamf.yaml:6:15: limits.body_bytes: `3 apples` is no size; write number and unit, as in 64KiB or 1MiB",
            "kamf.yaml:8:8: agents.a/b: a name has 1 to 64 of A-Z a-z 0-9 _ - . and does not begin with a dot",
            "kamf.yaml:9:6: agents.c: `url` is missing",
            "kamf.yaml:10:19: telemetry.json: `true` or `false` was expected",
        ]
    );
}

#[test]
fn what_is_no_yaml_names_the_place() {
    for (text, line) in [
        ("public: {listen: [}", "kamf.yaml:1:"),
        ("a: 1\na: 2\n", "kamf.yaml:2:1: `a` stands in line 1 already"),
        ("public: &p {}\nadmin: *p\n", "kamf.yaml:2:8: aliases"),
        ("public: !!map {}\n", "kamf.yaml:1:"),
        ("a: 1\n---\nb: 2\n", "kamf.yaml:3:"),
    ] {
        assert!(
            mistakes(text).iter().any(|mistake| mistake.starts_with(line)),
            "{text:?}: {:?}",
            mistakes(text)
        );
    }
    let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(mistakes(&deep)[0].contains("nested deeper"));
}

#[test]
fn mcp_servers_read_as_hosts_write_them() {
    let config = read(
        r#"{"mcpServers": {
            "profit_clac": {"command": "npx", "args": ["-y", "p@1"], "env": {"PORT": 8080, "V": 1.10},
                            "cwd": "work", "disabled": false, "autoApprove": [], "timeout": 60, "note": "x"},
            "off": {"command": 7, "disabled": true},
            "remote": {"type": "streamable-http", "url": "https://mcp.example/mcp",
                       "headers": {"Authorization": "Bearer ${env:TOKEN}", "X-Region": "eu"}}}}"#,
    )
    .unwrap();
    assert_eq!(config.servers.keys().map(AsRef::as_ref).collect::<Vec<&str>>(), ["profit_clac", "remote"]);
    let Transport::Stdio(process) = &config.servers["profit_clac"].transport else { panic!("stdio") };
    assert_eq!((process.env["PORT"].expose(), process.env["V"].expose()), ("8080", "1.10"));
    assert_eq!(process.cwd.as_deref(), Some(Path::new("work")));
    let Transport::Http { headers, .. } = &config.servers["remote"].transport else { panic!("http") };
    assert_eq!(headers["Authorization"].expose(), "Bearer open-sesame");
    assert!(!format!("{config:?}").contains("open-sesame"));
}

#[test]
fn contradictory_servers_are_refused() {
    for entry in [
        "{command: a, url: http://x/}",
        "{type: stdio, url: http://x/}",
        "{type: http, command: a}",
        "{type: stdio, transport: http, command: a}",
        "{type: sse, url: http://x/}",
        "{}",
        "{command: a, envFile: .env}",
        "{url: http://user:hunter2@x/}",
    ] {
        let found = mistakes(&format!("mcpServers: {{s: {entry}}}"));
        assert_eq!(found.len(), 1, "{entry}: {found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn secrets_come_by_reference_and_never_show() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("password"), "hunter2\n").unwrap();
    let read = |text: &str| check(&folder.path().join("kamf.yaml"), text, &environment);
    let config = read("log: {properties: {sasl.password: {file: password}, sasl.username: me}}").unwrap();
    assert_eq!(config.log.properties["sasl.password"].expose(), "hunter2");
    assert_eq!(config.log.directory, folder.path().join("data/log"));
    for text in [
        "log: {properties: {sasl.password: hunter2}}",
        "agents: {a: {url: http://x/, authorization: hunter2}}",
        "mcpServers: {s: {url: http://x/, headers: {authorization: hunter2}}}",
        "identity: {keys: [{name: a, hash: hunter2}]}",
        "agents: {a: {url: http://x/, authorization: {env: NOT_SET}}}",
        "agents: {a: {url: http://x/, authorization: {file: password, env: TOKEN}}}",
        "mcpServers: {s: {command: c, env: {A: \"${hunter2}\"}}}",
        "mcpServers: {s: {command: c, env: {A: \"${hunter2\"}}}",
    ] {
        let found = read(text).unwrap_err();
        assert_eq!(found.list.len(), 1, "{text}: {found}");
        assert!(!found.to_string().contains("hunter2"), "{found}");
    }
    let config = read("mcpServers: {s: {command: c, env: {A: \"$${x} ${env:TOKEN}\"}}}").unwrap();
    let Transport::Stdio(process) = &config.servers["s"].transport else { panic!("stdio") };
    assert_eq!(process.env["A"].expose(), "${x} open-sesame");
}

#[test]
fn what_the_promises_rest_on_cannot_be_set() {
    for property in ["acks: 1", "enable.idempotence: false", "bootstrap.servers: x", "transactional.id: t"] {
        let found = mistakes(&format!("log: {{properties: {{{property}}}}}"));
        assert!(found.len() == 1 && found[0].contains("cannot be set"), "{found:?}");
    }
}

#[test]
fn money_is_exact() {
    let price = |text: &str| {
        read(&format!("prices: {{currency: EUR, calls: {{s: {text}}}}}\nmcpServers: {{s: {{command: c}}}}"))
    };
    for (text, millionths) in [("\"0.001\"", 1_000), ("2.50", 2_500_000), ("3", 3_000_000), ("0.000001", 1)] {
        assert_eq!(price(text).unwrap().prices.calls["s"], millionths, "{text}");
    }
    for text in ["-1", "1e3", "0.0000001", "\".5\"", "\"1.\"", "99999999999999999999", "1,5"] {
        assert!(price(text).is_err(), "{text}");
    }
}

#[test]
fn names_of_upstreams_are_checked_where_they_are_used() {
    let servers = "mcpServers: {ledger: {command: c}, off: {command: c, disabled: true}}\n";
    let found = mistakes(&format!(
        "{servers}delivery: {{routes: {{leger: direct, off: direct}}}}\nprices: {{currency: EUR, calls: {{legder: 1}}}}\n\
         mcp: {{prefix: allways, timeouts: {{ledgr: {{total: 1s}}}}}}"
    ));
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.iter().all(|mistake| mistake.contains("did you mean")), "{found:?}");
    let config = read(&format!("{servers}mcp: {{timeouts: {{ledger: {{total: 2s}}, off: {{}}}}}}")).unwrap();
    assert_eq!(config.servers["ledger"].timeouts.total, Duration::from_secs(2));
}

#[test]
fn durations_sizes_and_counts_have_bounds() {
    for (setting, fit, unfit) in [
        ("drain", "250ms", "0s"),
        ("drain", "30d", "31d"),
        ("body_bytes", "256MiB", "257MiB"),
        ("body_bytes", "1KiB", "99999999999999999999GiB"),
        ("head_bytes", "8192", "8191"),
        ("header_count", "8", "7"),
        ("http2_streams", "1", "0"),
        ("json_depth", "128", "129"),
    ] {
        read(&format!("limits: {{{setting}: {fit}}}")).unwrap();
        assert_eq!(mistakes(&format!("limits: {{{setting}: {unfit}}}")).len(), 1, "{setting}: {unfit}");
    }
}

#[test]
fn every_limit_can_be_set_and_is_taken_from_its_own_name() {
    let shown = format!("{:?}", Limits::default());
    let inner = shown.trim_start_matches("Limits { ").split(", rate:").next().unwrap();
    for field in inner.split(", ") {
        let (name, default) = field.split_once(": ").unwrap();
        let value = if default.ends_with('s') { "123ms" } else { "8192" };
        let (value, expected) = match name {
            "json_depth" | "header_count" | "schema_depth" => ("77", "77"),
            "method_bytes" | "tool_name_bytes" => ("1234", "1234"),
            "body_bytes" | "answer_bytes" | "event_bytes" | "schema_bytes" => ("2KiB", "2048"),
            "queue_bytes" => ("1MiB", "1048576"),
            _ => (value, value),
        };
        let limits = read(&format!("limits: {{{name}: {value}}}")).unwrap().limits;
        assert!(format!("{limits:?}").contains(&format!("{name}: {expected}")), "{name}");
    }
}

#[test]
fn two_listeners_need_two_addresses() {
    assert_eq!(mistakes("public: {listen: 127.0.0.1:8081}").len(), 1);
    read("public: {listen: 127.0.0.1:0}\nadmin: {listen: 127.0.0.1:0}").unwrap();
}

#[test]
fn a_missing_file_says_how_to_name_another() {
    let found = load(Path::new("no-such-kamf.yaml")).unwrap_err().to_string();
    assert!(found.starts_with("no-such-kamf.yaml: cannot be read") && found.contains("--config"), "{found}");
}

#[test]
fn a_hosts_json_file_reads_as_it_is_tabs_and_all() {
    let json = "{\n\t\"mcpServers\": {\n\t\t\"a\": {\n\t\t\t\"command\": \"c\",\n\t\t\t\"args\": [\n\t\t\t\t\"x y\"\n\t\t\t]\n\t\t}\n\t}\n}\n";
    assert_eq!(read(json).unwrap().servers.len(), 1);
}

#[test]
fn a_route_is_a_mode_or_settings_and_takes_the_rest_from_all() {
    let servers = "mcpServers: {a: {command: c}, b: {command: c}, c: {command: c}}\n";
    let text = format!(
        "{servers}delivery:\n  default: journal\n  queue: 7\n  retry: {{max: 9s}}\n  routes:\n    a: direct\n    \
         b: {{idempotent: true, retry: {{first: 1s}}, breaker: {{failures: 2}}}}\n"
    );
    let delivery = read(&text).unwrap().delivery;
    let (a, b, c) = (delivery.route("a"), delivery.route("b"), delivery.route("c"));
    assert_eq!((a.mode, b.mode, c.mode), (Mode::Direct, Mode::Journal, Mode::Journal));
    assert_eq!((a.queue, b.queue), (7, 7));
    assert_eq!((b.idempotent, c.idempotent, b.trusted), (true, false, false));
    assert_eq!((b.retry.first, b.retry.max), (Duration::from_secs(1), Duration::from_secs(9)));
    assert_eq!((b.breaker.failures, c.breaker.failures), (2, 5));
    for (wrong, says) in [
        ("default: later", "none of relay, journal, direct"),
        ("retry: {first: 2s, max: 1s}", "`max` is shorter than `first`"),
        ("retry: {budget: 2000}", "no whole number from 0 to 1000"),
        ("queue: 0", "no whole number from 1"),
        ("routes: {a: {idempotant: true}}", "did you mean `idempotent`?"),
        ("routes: {a: {breaker: {failure: 1}}}", "did you mean `failures`?"),
    ] {
        let found = mistakes(&format!("{servers}delivery: {{{wrong}}}"));
        assert!(found.len() == 1 && found[0].contains(says), "{wrong}: {found:?}");
    }
}
