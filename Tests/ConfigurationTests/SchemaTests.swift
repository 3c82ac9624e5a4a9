import Foundation
import Testing

@testable import Configuration

/// What Python's `jsonschema`, a validator that others wrote, says of files; PyYAML reads them.
enum Validator {
  static let isInstalled = (try? run("import jsonschema, yaml", [])) != nil

  private static let script = """
    import sys, json, yaml, jsonschema
    request = json.load(sys.stdin)
    schema = json.loads(request["schema"])
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    answers = []
    for text in request["files"]:
        try:
            answers.append([e.message[:200] for e in validator.iter_errors(yaml.safe_load(text))])
        except yaml.YAMLError as error:
            answers.append(["yaml: " + str(error)])
    print(json.dumps(answers))
    """

  /// For each text the validator's complaints; none where it is valid.
  static func complaints(_ texts: [String]) throws -> [[String]] {
    let request = try JSONSerialization.data(
      withJSONObject: ["schema": Configuration.schema, "files": texts] as [String: Any])
    let answer = try run(script, Array(request))
    return try JSONDecoder().decode([[String]].self, from: Data(answer))
  }

  private struct Failed: Error { var text: String }

  private static func run(_ script: String, _ input: [UInt8]) throws -> [UInt8] {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["python3", "-c", script]
    // Files, so that no pipe can fill up.
    let folder = FileManager.default.temporaryDirectory.appending(path: "roost-schema-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let names = ["in", "out", "error"].map { folder.appending(path: $0) }
    try Data(input).write(to: names[0])
    for name in names.dropFirst() { try Data().write(to: name) }
    process.standardInput = try FileHandle(forReadingFrom: names[0])
    process.standardOutput = try FileHandle(forWritingTo: names[1])
    process.standardError = try FileHandle(forWritingTo: names[2])
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw Failed(text: try String(contentsOf: names[2], encoding: .utf8)) }
    return Array(try Data(contentsOf: names[1]))
  }
}

@Suite(.enabled(if: Validator.isInstalled, "needs Python's jsonschema and yaml (python3-jsonschema, python3-yaml)"))
struct `The JSON Schema, by a validator that others wrote` {
  @Test func `accepts every example`() throws {
    let names = Folder.names(Folder.examples)
    let texts = try names.map { String(decoding: try Folder.bytes(Folder.examples, "\($0).yaml"), as: UTF8.self) }
    for (name, complaints) in zip(names, try Validator.complaints(texts)) {
      #expect(complaints == [], "\(name)")
    }
    #expect(!names.isEmpty)
  }

  @Test func `refuses each mistake of form that the reader refuses`() throws {
    let complaints = try Validator.complaints(WrongForms.files.map(\.text))
    for (file, complaints) in zip(WrongForms.files, complaints) {
      let reading = Configuration.read(text: file.text, file: "wrong.yaml")
      #expect(reading.configuration == nil, "the reader accepts \(file.change)")
      #expect(!complaints.isEmpty, "the schema accepts \(file.change)")
    }
  }

  @Test func `accepts what the reader accepts`() throws {
    let right = WrongForms.right
    for (file, complaints) in zip(right, try Validator.complaints(right.map(\.text))) {
      let reading = Configuration.read(text: file.text, file: "right.yaml")
      #expect(reading.mistakes.filter { $0.severity == .error } == [], "\(file.change)")
      #expect(complaints == [], "\(file.change)")
    }
  }
}

/// A right file, and small changes to it.
enum WrongForms {
  static let base = """
    cluster:
      secret: /etc/roost/secret
      port: 7113
      witness: [10.0.0.1, "2001:db8::1"]
      realtime: false
      nodes:
        lb1: { addresses: [10.0.0.11, "2001:db8::11"] }
        lb2: { addresses: [10.0.0.12, "2001:db8::12"] }
    vips:
      web:
        addresses: [10.0.0.100]
        interface: eth0
        prefer: [lb1, lb2]
        election: vrrp
        address-lease: 2s
        drain: 1s
        warm-up: 2s
        announce-every: 30s
        before-announcing: { command: [/usr/local/bin/claim, web], timeout: 3s }
        track: { uplink: forbid, gateway: 20, script: 1, enough: 253, store: forbid }
        vrrp: { id: 51, interval: 1s, version: 3, preempt: true, preempt-delay: 0s, peers: multicast, checksum: message, auth: { mode: permissive, keys: { 1: /etc/roost/key } }, virtual-mac: false }
    services:
      web:
        vip: web
        listen: 80/tcp
        mode: proxy
        balance: random
        check: { http: /, host: example.org, status: 200, contains: fine, every: 1s, timeout: 1s, rise: 2, fall: 3, port: 80 }
        backends:
          app1: 10.0.0.21:8080
          app2: { address: 10.0.0.22, weight: 50 }
        limits: { maximum-connections: 10, connect-timeout: 1s, idle-timeout: 1h, retries: 1 }
    trackers:
      uplink: { interface: eth1, every: 2s, rise: 2, fall: 2 }
      gateway: { route: 0.0.0.0/0, table: 100 }
      script: { command: [/usr/bin/true, -x, 5], user: nobody, timeout: 500ms }
      enough: { service: web, at-least: 2 }
      store: { check: tcp, address: 10.0.0.30:5432 }
    notify:
      pager: { webhook: "http://10.0.0.9:8080/roost", authorization: /etc/roost/token, events: [active, fault], timeout: 9s }
      log: { command: [/usr/bin/logger, -t, roost] }

    """

  struct File {
    var change: String
    var text: String

    init(_ old: String, _ new: String) {
      change = "\(old) → \(new)"
      text = base.replacing(old, with: new)
      precondition(text != base || old == new, "\(old) is not in the base")
    }
  }

  static let files: [File] = [
    ("cluster:", "clusters:"), ("vips:", "vip:"), ("  secret: /etc/roost/secret", "  secret: secret"),
    ("secret: /etc/roost/secret", "secret: []"), ("secret: /etc/roost/secret", "secret: { file: /x }"),
    ("addresses: [10.0.0.100]", "addresses: []"), ("addresses: [10.0.0.100]", "addresses: [10.0.0.100/24]"),
    ("addresses: [10.0.0.100]", "addresses: [vip.example.org]"),
    ("addresses: [10.0.0.100]", "addresses: { a: 10.0.0.1 }"),
    ("addresses: [10.0.0.100]", "adresses: [10.0.0.100]"), ("interface: eth0", "interface: a-name-that-is-too-long"),
    ("interface: eth0", "interface: [eth0]"), ("interface: eth0", "interface: eth/0"),
    ("prefer: [lb1, lb2]", "prefer: lb1"), ("prefer: [lb1, lb2]", "prefer: []"), ("election: vrrp", "election: raft"),
    ("election: vrrp", "election: etcd"), ("address-lease: 2s", "address-lease: 2"),
    ("address-lease: 2s", "address-lease: on"),
    ("drain: 1s", "drain: 1 s"), ("drain: 1s", "drain: -1s"), ("drain: 1s", "drain: [1s]"), ("drain: 1s", "drain:"),
    ("drain: 1s", "drain: 1d"), ("track: {", "track: [uplink]\n    tracks: {"), ("uplink: forbid", "uplink: 0"),
    ("uplink: forbid", "uplink: 254"), ("uplink: forbid", "uplink: allow"), ("uplink: forbid", "uplink: [forbid]"),
    ("warm-up: 2s", "warm-up: 2"), ("warm-up: 2s", "warm-up: off"), ("announce-every: 30s", "announce-every: on"),
    ("announce-every: 30s", "announce-every: 30"), ("[/usr/local/bin/claim, web]", "/usr/local/bin/claim"),
    ("command: [/usr/local/bin/claim, web], ", ""), ("port: 7113", "port: 0"), ("port: 7113", "port: \"7113\""),
    ("witness: [10.0.0.1, \"2001:db8::1\"]", "witness: gateway"),
    ("witness: [10.0.0.1, \"2001:db8::1\"]", "witness: []"),
    ("realtime: false", "realtime: sometimes"), ("interface: eth1", "interface: [eth1]"),
    ("route: 0.0.0.0/0", "route: default"), ("route: 0.0.0.0/0", "route: 0.0.0.0"), ("table: 100", "table: main"),
    ("command: [/usr/bin/true, -x, 5]", "command: /usr/bin/true"), ("user: nobody", "user: 5 5"),
    ("at-least: 2", "at-least: 0"), ("check: tcp,", "check: udp,"), ("check: tcp,", "check: { path: / },"),
    ("10.0.0.30:5432", "store:5432"), ("every: 2s, rise", "every: 2, rise"),
    ("every: 2s, rise: 2", "every: 2s, rise: 0"),
    ("webhook: \"http://10.0.0.9:8080/roost\"", "webhook: 10.0.0.9"),
    ("events: [active, fault]", "events: [active, master]"),
    ("authorization: /etc/roost/token", "authorization: token"),
    ("timeout: 9s", "timeout: 9"), ("log: {", "\"a log\": {"), ("mode: permissive", "mode: strict"),
    ("mode: permissive, ", ""), ("{ 1: /etc/roost/key }", "{ 1: key }"),
    ("{ 1: /etc/roost/key }", "{ one: /etc/roost/key }"),
    ("{ 1: /etc/roost/key }", "[/etc/roost/key]"), ("virtual-mac: false", "virtual-mac: 1"),
    ("notify:", "groups: { front: web }\nnotify:"), ("notify:", "groups: { front: [] }\nnotify:"), ("id: 51", "id: 0"),
    ("id: 51", "id: 256"),
    ("id: 51", "id: \"51\""), ("id: 51", "id: 51.5"), ("id: 51", "ident: 51"), ("version: 3", "version: 4"),
    ("version: 3", "version: v3"), ("preempt: true", "preempt: sometimes"), ("preempt: true", "preempt: \"true\""),
    ("preempt: true", "preempt: 1"), ("peers: multicast", "peers: broadcast"), ("checksum: message", "checksum: none"),
    ("checksum: message", "family: both"), ("vip: web\n", "vip: [web]\n"),
    ("listen: 80/tcp", "listen: 80"), ("listen: 80/tcp", "listen: 80/udp"), ("listen: 80/tcp", "listen: []"),
    ("listen: 80/tcp", "listen: [80/tcp, 443]"), ("mode: proxy", "mode: nat"), ("balance: random", "balance: rand"),
    ("http: /", "http: index.html"), ("status: 200", "status: 99"), ("status: 200", "status: [200, ok]"),
    ("every: 1s", "every: 1"), ("rise: 2", "rise: 0"), ("port: 80 ", "port: 65536 "),
    ("contains: fine", "contains: [fine]"),
    ("10.0.0.21:8080", "app1.example.org:8080"), ("10.0.0.21:8080", "[10.0.0.21]"), ("weight: 50", "weight: 0"),
    ("weight: 50", "weight: 257"), ("weight: 50", "weight: many"), ("address: 10.0.0.22, ", ""),
    ("maximum-connections: 10,", "maximum-connections: 0,"), ("retries: 1 ", "retries: 17 "),
    ("retries: 1 ", "retires: 1 "),
    ("app1:", "\"app 1\":"), ("services:", "services: []\nothers:"),
  ].map { File($0.0, $0.1) }

  static let right: [File] = [
    ("", ""), ("address-lease: 2s", "address-lease: off"), ("secret: /etc/roost/secret", "secret: [/a, /b]"),
    ("addresses: [10.0.0.100]", "addresses: 10.0.0.100"),
    ("addresses: [10.0.0.100]", "addresses: [10.0.0.100, \"2001:db8::100\"]"),
    ("interface: eth0", "interface: { lb1: eth0, lb2: eno1.5@x }"), ("interval: 1s", "interval: 40.95s"),
    (
      "interval: 1s, version: 3, preempt: true, preempt-delay: 0s, peers: multicast, checksum: message, auth: { mode: permissive, keys: { 1: /etc/roost/key } }",
      "interval: 255s, version: 2"
    ), ("preempt-delay: 0s", "preempt-delay: 1.5m"),
    ("peers: multicast", "peers: unicast"), ("checksum: message", "family: ipv4"),
    ("announce-every: 30s", "announce-every: off"), ("warm-up: 2s", "warm-up: 0s"), ("port: 7113", "port: 443"),
    ("witness: [10.0.0.1, \"2001:db8::1\"]", "witness: 10.0.0.1"), ("realtime: false", "realtime: true"),
    ("timeout: 3s }", "timeout: 100ms }"), ("claim, web]", "claim, web, 3, true]"), ("uplink: forbid", "uplink: 253"),
    ("interface: eth1", "interface: { lb1: eth1, lb2: eth2 }"), ("route: 0.0.0.0/0", "route: \"::/0\""),
    ("route: 0.0.0.0/0", "route: 10.0.0.0/8"), ("table: 100", "table: 4294967"), ("user: nobody", "user: _a.b-c"),
    ("user: nobody, ", ""), ("enough: { service: web, at-least: 2 }", "enough: { service: web }"),
    ("check: tcp,", "check: { http: /, host: a, status: 200, contains: x },"),
    ("store: { check: tcp, address: 10.0.0.30:5432 }", "store: { process: postgres }"),
    ("store: { check: tcp, address: 10.0.0.30:5432 }", "store: { file: /run/store }"),
    ("every: 2s, rise: 2, fall: 2", "every: 3s, rise: 3, fall: 4"), ("timeout: 500ms", "timeout: 400ms"),
    ("http://10.0.0.9:8080/roost", "http://example.org"),
    ("http://10.0.0.9:8080/roost", "http://[2001:db8::9]:8080/?a=b"),
    ("events: [active, fault]", "events: fault"), ("timeout: 9s", "timeout: 8s"),
    ("-t, roost]", "-t, roost, -p, daemon.info]"),
    ("mode: permissive", "mode: enforce"), ("mode: permissive, keys: { 1: /etc/roost/key }", "mode: off"),
    (", keys: { 1: /etc/roost/key }", ""),
    ("{ 1: /etc/roost/key }", "{ 255: /etc/roost/key, 7: /etc/roost/old }"),
    ("virtual-mac: false", "virtual-mac: true"),
    (", authorization: /etc/roost/token", ""), ("drain: 1s", "drain: 2s"),
    ("listen: 80/tcp", "listen: [80/tcp, 8000-8010/tcp]"), ("listen: 80/tcp", "listen: 64000-65023/tcp"),
    ("balance: random", "balance: source-hash"), ("status: 200", "status: [200-299, 304]"),
    ("status: 200", "status: 200-399"),
    ("contains: fine", "contains: 200"), ("contains: fine", "contains: \"* fine: *\""),
    ("10.0.0.21:8080", "\"[2001:db8::21]:8080\""), ("10.0.0.21:8080", "2001:db8::21"),
    (
      "check: { http: /, host: example.org, status: 200, contains: fine, every: 1s, timeout: 1s, rise: 2, fall: 3, port: 80 }",
      "check: tcp"
    ),
  ].map { File($0.0, $0.1) }
}
