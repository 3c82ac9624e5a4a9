import Basis
import Configuration
import Testing
import Wire

@testable import Lab

@Test func `the demo's hosts share one link with the client on a free address`() throws {
  let topology = try Topology(DemoConfiguration().configuration())
  #expect(topology.links.map(\.bridge) == ["br0"])
  #expect(topology.links[0].prefixes.map(\.description) == ["10.77.0.0/24"])
  #expect(topology.hosts.map(\.name) == ["lb1", "lb2", "app1", "app2", "app3", "client"])
  #expect(topology.host("lb1")?.interfaces.map { "\($0.name) \($0.addresses)" } == ["eth0 [10.77.0.11/24]"])
  #expect(topology.host("client")?.interfaces.flatMap(\.addresses).map(\.description) == ["10.77.0.254/24"])
}

@Test func `every name of a bridge port fits Linux and is unique`() throws {
  let topology = try Topology(DemoConfiguration(nodes: 12, backends: 40).configuration())
  let ports = topology.hosts.flatMap(\.interfaces).map(\.port)
  #expect(Set(ports).count == ports.count)
  #expect(ports.allSatisfy { $0.utf8.count <= 15 })
}

private func configuration(nodes: [String: [String]], vip: [String], backends: [String] = []) throws -> Configuration {
  func addresses(_ texts: [String]) throws -> [IPAddress] { try texts.map { try #require(IPAddress($0)) } }
  let members = try nodes.sorted { $0.key < $1.key }.map {
    Configuration.Member(name: $0.key, addresses: try addresses($0.value))
  }
  let list = try addresses(vip)
  let router = Configuration.Router(id: 7, family: list.contains { $0.family == .ipv4 } ? .ipv4 : .ipv6)
  var services: [Configuration.Service] = []
  if !backends.isEmpty {
    services = [
      Configuration.Service(
        name: "web", vip: "web", listen: [Configuration.Listen(ports: 80...80)],
        backends: try addresses(backends).enumerated().map {
          Configuration.Backend(name: "app\($0.offset + 1)", address: $0.element, port: 8080)
        })
    ]
  }
  return Configuration(
    cluster: Configuration.Cluster(nodes: members),
    vips: [Configuration.VIP(name: "web", addresses: list, prefer: members.map(\.name), election: .vrrp(router))],
    services: services)
}

@Test func `two families of one VIP are one link, and hosts get what they lack`() throws {
  let topology = try Topology(
    configuration(nodes: ["lb1": ["10.0.0.11"], "lb2": ["10.0.0.12"]], vip: ["10.0.0.100", "2001:db8::100"]))
  #expect(topology.links.count == 1)
  #expect(topology.links[0].prefixes.map(\.description) == ["10.0.0.0/24", "2001:db8::/64"])
  #expect(topology.host("lb1")?.interfaces[0].addresses.map(\.description) == ["10.0.0.11/24", "2001:db8::ffff/64"])
}

@Test func `a VIP outside the nodes' block widens it`() throws {
  let topology = try Topology(configuration(nodes: ["lb1": ["10.0.0.11"], "lb2": ["10.0.0.12"]], vip: ["10.0.3.100"]))
  #expect(topology.links.map(\.prefixes.description) == ["[10.0.0.0/22]"])
}

@Test func `backends of another subnet are behind a router`() throws {
  let topology = try Topology(
    configuration(
      nodes: ["lb1": ["10.0.0.11"], "lb2": ["10.0.0.12"]], vip: ["10.0.0.100"],
      backends: ["192.168.5.1", "192.168.5.2"]))
  #expect(topology.links.count == 2)
  #expect(topology.host("router")?.interfaces.map(\.link) == [0, 1])
  #expect(topology.host("app1")?.gateways.map(\.description) == ["192.168.5.254"])
  #expect(topology.host("lb1")?.gateways.map(\.description) == ["10.0.0.254"])
  #expect(topology.host("client")?.interfaces.map(\.link) == [0])
}

@Test func `a node that is a backend too stays one host`() throws {
  let topology = try Topology(
    configuration(
      nodes: ["lb1": ["10.0.0.11"], "lb2": ["10.0.0.12"]], vip: ["10.0.0.100"], backends: ["10.0.0.11", "10.0.0.21"]))
  #expect(topology.hosts.map(\.name) == ["lb1", "lb2", "app2", "client"])
}

@Test func `the interface that the configuration names is the one that the host has`() throws {
  var value = try configuration(nodes: ["lb1": ["10.0.0.11"], "lb2": ["10.0.0.12"]], vip: ["10.0.0.100"])
  value.vips[0].interface = .perNode([Configuration.NodeInterface(node: "lb2", interface: "ens3")])
  let topology = try Topology(value)
  #expect(topology.host("lb1")?.interfaces.map(\.name) == ["eth0"])
  #expect(topology.host("lb2")?.interfaces.map(\.name) == ["ens3"])
}

@Test func `a configuration without a VIP is refused with a reason`() throws {
  let value = Configuration(cluster: Configuration.Cluster(nodes: []), vips: [])
  #expect(throws: LabError.self) { try Topology(value) }
}

@Test func `keepalived gets the same timers and priorities`() throws {
  let text = try Keepalived.text(for: "lb2", of: DemoConfiguration().configuration(), interfaces: ["web": "eth0"])
  for line in [
    "interface eth0", "virtual_router_id 51", "priority 253", "version 3", "advert_int 0.10", "accept",
    "10.77.0.100/32",
  ] {
    #expect(text.contains(line), "\(line) is missing in\n\(text)")
  }
}

@Test func `keepalived's IPv6 adverts begin with the link-local address`() throws {
  var value = try configuration(nodes: ["lb1": ["2001:db8::1"], "lb2": ["2001:db8::2"]], vip: ["2001:db8::100"])
  guard case .vrrp(var router) = value.vips[0].election else { return }
  router.peers = .unicast
  value.vips[0].election = .vrrp(router)
  let text = try Keepalived.text(for: "lb1", of: value, interfaces: ["web": "eth0"])
  #expect(text.contains("virtual_ipaddress {\n    fe80::200:5eff:fe00:207/128\n    2001:db8::100/128\n  }"))
  #expect(text.contains("native_ipv6"))
  #expect(text.contains("unicast_ttl 255"))
  #expect(text.contains("unicast_src_ip 2001:db8::1"))
  #expect(text.contains("unicast_peer {\n    2001:db8::2\n  }"))
}

@Test(arguments: [(2, 3), (3, 0), (12, 20)])
func `the lab's own file says what was asked for`(nodes: Int, backends: Int) throws {
  let demo = DemoConfiguration(nodes: nodes, backends: backends, interval: .milliseconds(50))
  let value = try demo.configuration()
  #expect(value.cluster.nodes.map(\.name) == (1...nodes).map { "lb\($0)" })
  #expect(value.vips.map(\.name) == ["web"])
  #expect(value.vips[0].addresses == [DemoConfiguration.vip] && value.vips[0].prefer == value.cluster.nodes.map(\.name))
  guard case .vrrp(let router) = value.vips[0].election else {
    Issue.record("no election")
    return
  }
  #expect(router.id == 51 && router.interval == .milliseconds(50))
  #expect(value.services.map(\.backends.count) == (backends > 0 ? [backends] : []))
}

@Test func `255 instances have each an ID and an address of their own, on one link`() throws {
  var demo = DemoConfiguration()
  demo.instances = 255
  let value = try demo.configuration()
  let ids = value.vips.compactMap { vip -> UInt8? in
    guard case .vrrp(let router) = vip.election else { return nil }
    return router.id
  }
  #expect(Set(ids) == Set(1...255) && ids.count == 255)
  #expect(Set(value.vips.flatMap(\.addresses)).count == 255)
  #expect(try Topology(value).links.count == 1)
  let text = try Keepalived.text(
    for: "lb1", of: value, interfaces: Dictionary(uniqueKeysWithValues: value.vips.map { ($0.name, "eth0") }))
  #expect(text.split(separator: "\n").count { $0.hasPrefix("vrrp_instance") } == 255)
}

@Test func `a change adds an address, or a VIP with an ID that nobody has`() throws {
  var demo = DemoConfiguration()
  demo.moreAddresses = 1
  demo.moreVIPs = 1
  let value = try demo.configuration()
  #expect(value.vips.map(\.name) == ["web", "added1"])
  #expect(value.vips[0].addresses.map(\.description) == ["10.77.0.100", "10.77.0.101"])
}

@Test func `the client has as many addresses as it needs, and a stranger has one`() throws {
  let topology = try Topology(DemoConfiguration().configuration(), clientAddresses: 3, hasStranger: true)
  #expect(
    topology.host("client")?.interfaces.flatMap(\.addresses).map(\.description) == [
      "10.77.0.254/24", "10.77.0.253/24", "10.77.0.252/24",
    ])
  #expect(topology.host("stranger")?.interfaces.flatMap(\.addresses).count == 1)
}
