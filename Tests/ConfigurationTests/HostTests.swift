import Foundation
import Testing
import Wire

@testable import Configuration

private func address(_ text: String, _ length: Int) throws -> HostFacts.Address {
  HostFacts.Address(try #require(IPAddress(text)), prefixLength: length)
}

private func host(
  node: String? = nil, name: String = "elsewhere", ipv6: Bool = true, foreign: [String] = []
) throws -> HostFacts {
  HostFacts(
    node: node, hostName: name,
    interfaces: [
      .init(name: "lo", addresses: [try address("127.0.0.1", 8)]),
      .init(name: "eth0", addresses: [try address("10.0.0.12", 24), try address("2001:db8::12", 64)], hasIPv6: ipv6),
      .init(name: "eth1", addresses: [try address("10.0.0.200", 16), try address("10.9.0.1", 32)]),
    ],
    foreignVIPs: try foreign.map {
      .init(interface: "eth0", address: try #require(IPAddress($0)), prefixLength: 24)
    })
}

private func reading(_ vip: String, nodes: String = "{ lb1: 10.0.0.11, lb2: 10.0.0.12 }") -> Reading {
  Configuration.read(text: "cluster:\n  nodes: \(nodes)\nvips:\n  web: \(vip)\n", file: "h.yaml")
}

@Test func `a machine is the node that it was said to be, or whose address or name it has`() throws {
  let value = try #require(reading("{ addresses: 10.0.0.100, vrrp: { id: 1 } }").configuration)
  #expect(value.nodeName(on: try host()) == "lb2")
  #expect(value.nodeName(on: try host(node: "lb1")) == "lb1")
  #expect(value.nodeName(on: try host(node: "lb9")) == nil)
  #expect(value.nodeName(on: HostFacts(hostName: "lb1", interfaces: [])) == "lb1")
  #expect(value.nodeName(on: HostFacts(hostName: "lb7", interfaces: [])) == nil)
}

@Test func `a node's addresses are one, a list, or a mapping`() throws {
  for nodes in ["[10.0.0.11, \"2001:db8::11\"]", "{ addresses: [10.0.0.11, \"2001:db8::11\"] }"] {
    let read = reading("{ addresses: 10.0.0.100, vrrp: { id: 1 } }", nodes: "{ lb1: \(nodes), lb2: 10.0.0.12 }")
    let value = try #require(read.configuration, "\(read.mistakes.text())")
    #expect(value.cluster.nodes[0].addresses.map(\.description) == ["10.0.0.11", "2001:db8::11"])
  }
  for nodes in ["[]", "[10.0.0.11, lb9]", "[[10.0.0.11]]"] {
    #expect(reading("{ addresses: 10.0.0.100, vrrp: { id: 1 } }", nodes: "{ lb1: \(nodes) }").mistakes.hasError)
  }
}

@Test func `an interface is inferred from the narrowest subnet`() throws {
  let value = try #require(reading("{ addresses: 10.0.0.100, vrrp: { id: 1 } }").configuration)
  #expect(value.interface(of: value.vips[0], node: "lb2", on: try host()) == "eth0")
  let far = try #require(reading("{ addresses: 10.0.7.100, vrrp: { id: 1 } }").configuration)
  #expect(far.interface(of: far.vips[0], node: "lb2", on: try host()) == "eth1")
  // A VIP that is there already says nothing of where it belongs.
  let held = try #require(reading("{ addresses: 10.9.0.1, vrrp: { id: 1 } }").configuration)
  #expect(held.interface(of: held.vips[0], node: "lb2", on: try host()) == nil)
}

@Test func `what a machine can't do is said at its place`() throws {
  let cases: [(vip: String, host: HostFacts, text: String)] = [
    (
      "{ addresses: 192.0.2.1, vrrp: { id: 1 } }", try host(),
      """
      h.yaml:4:10: error: no interface of this machine has a subnet with 192.0.2.1
        4 |   web: { addresses: 192.0.2.1, vrrp: { id: 1 } }
          |          ^^^^^^^^^
          = name one with interface: (it has lo, eth0, eth1)
      """
    ),
    (
      "{ addresses: 10.0.0.100, interface: etho0, vrrp: { id: 1 } }", try host(),
      """
      h.yaml:4:44: error: this machine has no interface 'etho0'
        4 |   web: { addresses: 10.0.0.100, interface: etho0, vrrp: { id: 1 } }
          |                                            ^^^^^
          = did you mean 'eth0'?
      """
    ),
    (
      "{ addresses: \"2001:db8::100\", vrrp: { id: 1 } }", try host(ipv6: false),
      """
      h.yaml:4:21: error: 2001:db8::100 needs IPv6, which is off on eth0
        4 |   web: { addresses: "2001:db8::100", vrrp: { id: 1 } }
          |                     ^^^^^^^^^^^^^^^
          = sysctl -w net.ipv6.conf.eth0.disable_ipv6=0
      """
    ),
    (
      "{ addresses: [10.0.0.100, 10.0.7.1], vrrp: { id: 1 } }", try host(),
      """
      h.yaml:4:34: warning: 10.0.7.1 goes to eth0, but its subnet is on eth1
        4 |   web: { addresses: [10.0.0.100, 10.0.7.1], vrrp: { id: 1 } }
          |                                  ^^^^^^^^
          = move it to a VIP of its own, or correct 'interface'
      """
    ),
    (
      "{ addresses: 10.0.0.100, vrrp: { id: 1 } }", try host(node: "lb3"),
      """
      h.yaml:2:12: error: there is no node 'lb3'
        2 |   nodes: { lb1: 10.0.0.11, lb2: 10.0.0.12 }
          |            ^^^
          = known are lb1, lb2
      """
    ),
    (
      "{ addresses: 10.0.0.100, vrrp: { id: 1 } }", HostFacts(hostName: "db7", interfaces: []),
      """
      h.yaml:2:12: error: this machine is none of the nodes: no node has one of its addresses, or its name 'db7'
        2 |   nodes: { lb1: 10.0.0.11, lb2: 10.0.0.12 }
          |            ^^^
          = say which it is with --node NAME, or correct its address here
      """
    ),
    (
      "{ addresses: 10.0.0.100, interface: eth1, vrrp: { id: 1, peers: unicast } }", try host(),
      """
      h.yaml:4:21: warning: 10.0.0.100 goes to eth1, but its subnet is on eth0
        4 |   web: { addresses: 10.0.0.100, interface: eth1, vrrp: { id: 1, peers: unicast } }
          |                     ^^^^^^^^^^
          = move it to a VIP of its own, or correct 'interface'

      h.yaml:4:72: error: eth1 lacks 10.0.0.12, from which 'lb2' sends its unicast adverts
        4 |   web: { addresses: 10.0.0.100, interface: eth1, vrrp: { id: 1, peers: unicast } }
          |                                                                        ^^^^^^^
          = correct the first IPv4 address of 'lb2', or 'interface'
      """
    ),
    (
      "{ addresses: 10.0.0.100, vrrp: { id: 1 } }", try host(foreign: ["10.0.0.100"]),
      """
      h.yaml:4:21: warning: 10.0.0.100 is on eth0 already, as 10.0.0.100/24: another program put it there, and two machines answer for it where another node owns it
        4 |   web: { addresses: 10.0.0.100, vrrp: { id: 1 } }
          |                     ^^^^^^^^^^
          = ip address del 10.0.0.100/24 dev eth0
      """
    ),
    // It would answer for a VIP that this node may never own, too.
    (
      "{ addresses: 10.0.0.100, prefer: [lb1], election: static }", try host(foreign: ["10.0.0.100"]),
      """
      h.yaml:4:21: warning: 10.0.0.100 is on eth0 already, as 10.0.0.100/24: another program put it there, and two machines answer for it where another node owns it
        4 |   web: { addresses: 10.0.0.100, prefer: [lb1], election: static }
          |                     ^^^^^^^^^^
          = ip address del 10.0.0.100/24 dev eth0
      """
    ),
    ("{ addresses: 10.0.0.101, vrrp: { id: 1 } }", try host(foreign: ["10.0.0.100"]), ""),
    ("{ addresses: 10.0.0.100, vrrp: { id: 1, peers: unicast } }", try host(), ""),
    // What this node may not own needs no interface here.
    ("{ addresses: 192.0.2.1, prefer: [lb1], election: static }", try host(), ""),
    ("{ addresses: 10.0.0.100, vrrp: { id: 1 } }", try host(), ""),
  ]
  for each in cases {
    #expect(reading(each.vip).mistakes(on: each.host).text() == each.text)
  }
}

@Test func `a secret is long, and not for everyone to read`() throws {
  let folder = FileManager.default.temporaryDirectory.appending(path: "roost-secret-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  func file(_ name: String, _ length: Int, mode: Int, end: String = "\n") throws -> String {
    let path = folder.appending(path: name).path
    try Data((String(repeating: "s", count: length) + end).utf8).write(to: URL(filePath: path))
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    return path
  }
  #expect(Secret.read(try file("right", 32, mode: 0o600)) == .success([UInt8](repeating: UInt8(ascii: "s"), count: 32)))
  #expect(
    Secret.read(try file("group", 40, mode: 0o640, end: ""))
      == .success([UInt8](repeating: UInt8(ascii: "s"), count: 40)))
  #expect(Secret.read(try file("short", 31, mode: 0o600)) == .failure(.tooShort(31)))
  #expect(Secret.read(try file("open", 32, mode: 0o644)) == .failure(.readableByAll(0o100644)))
  #expect(Secret.read(folder.path) == .failure(.notAFile))
  #expect(Secret.read(folder.appending(path: "none").path) == .failure(.unreadable(ENOENT)))

  let text = """
    cluster:
      secret: [\(folder.path)/right, \(folder.path)/open, \(folder.path)/none]
      nodes: { lb1: 10.0.0.11 }
    vips: { web: { addresses: 10.0.0.100, vrrp: { id: 1 } } }
    """
  let mistakes = Configuration.read(text: text, file: "s.yaml").secretMistakes()
  #expect(
    mistakes.map(\.message) == [
      "\(quoted("\(folder.path)/open")) may be read by every user (mode 644)",
      "\(quoted("\(folder.path)/none")) can't be read: No such file or directory",
    ])
}

@Test func `a file that isn't there is said in one line`() {
  let reading = Configuration.read(path: "/nowhere/roost.yaml")
  #expect(
    reading.mistakes.text() == """
      /nowhere/roost.yaml: error: can't be read: No such file or directory
        = give its path with --config
      """)
  #expect(Configuration.read(path: "/").mistakes.map(\.message) == ["can't be read: Is a directory"])
}

@Test func `keys, tokens and programs are looked at where the file names them`() throws {
  let folder = FileManager.default.temporaryDirectory.appending(path: "roost-files-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  func file(_ name: String, _ text: String, mode: Int) throws {
    let path = folder.appending(path: name).path
    try Data(text.utf8).write(to: URL(filePath: path))
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
  }
  try file("key", String(repeating: "k", count: 64) + "\n", mode: 0o600)
  try file("long", String(repeating: "k", count: 65), mode: 0o600)
  try file("token", "Bearer abc\n", mode: 0o600)
  try file("lines", "Bearer\nabc\n", mode: 0o600)
  try file("program", "#!/bin/sh\n", mode: 0o700)
  try file("text", "#!/bin/sh\n", mode: 0o600)
  let path = folder.path
  let reading = Configuration.read(
    text: """
      cluster: { nodes: { lb1: 10.0.0.11, lb2: 10.0.0.12 } }
      vips:
        web:
          addresses: 10.0.0.100
          before-announcing: { command: [\(path)/program] }
          track: { script: forbid }
          vrrp: { id: 1, auth: { mode: enforce, keys: { 1: \(path)/key, 2: \(path)/long } } }
      trackers: { script: { command: [\(path)/none] } }
      notify:
        right: { webhook: "http://10.0.0.9/", authorization: \(path)/token }
        wrong: { webhook: "http://10.0.0.9/", authorization: \(path)/lines }
        text: { command: [\(path)/text] }
      """, file: "f.yaml")
  #expect(reading.mistakes == [])
  #expect(
    reading.secretMistakes().map(\.message) == [
      "\(quoted("\(path)/long")) holds 65 bytes, a key has 32 to 64",
      "\(quoted("\(path)/lines")) holds no value of an Authorization header: one line of visible ASCII",
    ])
  #expect(
    reading.programMistakes().map(\.message) == [
      "\(quoted("\(path)/none")) can't be run: No such file or directory", "\(quoted("\(path)/text")) may not be run",
    ])
  #expect(Secret.readToken("\(path)/token") == .success("Bearer abc"))
}
