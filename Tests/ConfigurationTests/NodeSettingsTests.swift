import Basis
import Node
import Testing
import VRRP
import Wire

@testable import Configuration

private func configuration(_ text: String) throws -> Configuration {
  let reading = Configuration.read(text: text, file: "test.yaml")
  #expect(reading.mistakes == [])
  return try #require(reading.configuration)
}

private let cluster = """
  cluster:
    nodes: { lb1: 10.0.0.11, lb2: 10.0.0.12, lb3: 10.0.0.13 }

  """

@Test func `the example of the design gives each node its priority and its peers`() throws {
  let value = try configuration(
    cluster + """
      vips:
        web:
          addresses: [10.0.0.100, "2001:db8::100"]
          prefer: [lb2, lb1]
          vrrp: { id: 51, interval: 100ms, peers: unicast, preempt-delay: 1m }
      services:
        web:
          vip: web
          listen: 80/tcp
          check: { http: /healthz, every: 500ms }
          backends: { app1: 10.0.0.21:8080, app2: { address: 10.0.0.22:8080, weight: 50 } }

      """)
  let settings = value.nodeSettings(for: "lb1", interface: { _ in "eth7" })
  let vip = try #require(settings.vips.first)
  #expect(vip.interface == "eth7")
  #expect(vip.lease == .seconds(2))
  #expect(vip.addresses.count == 2)
  guard case .vrrp(let router) = vip.election else {
    Issue.record("no election")
    return
  }
  #expect(router.priority == 253)
  #expect(router.interval == .milliseconds(100))
  #expect(router.preemptDelay == .seconds(60))
  #expect(router.addresses == [.v4(IPv4Address(10, 0, 0, 100))])
  #expect(router.peers == .unicast([.v4(IPv4Address(10, 0, 0, 12))]))
  #expect(
    settings.services == [
      ServiceSettings(name: "web", vip: 0, backends: ["app1", "app2"], check: value.services[0].check?.settings)
    ])
  // A timeout follows a short interval.
  #expect(value.services[0].check?.timeout == .milliseconds(500))
  #expect(value.services[0].backends.map(\.weight) == [100, 50])
  // lb3 may not own it, now or ever.
  #expect(value.nodeSettings(for: "lb3", interface: { _ in "eth0" }).vips[0].election == .fixed(owner: false))
}

@Test func `a static VIP is its one node's`() throws {
  let value = try configuration(
    cluster + "vips: { web: { addresses: 10.0.0.100, election: static, prefer: [lb2], address-lease: off } }\n")
  #expect(value.nodeSettings(for: "lb2", interface: { _ in "eth0" }).vips[0].election == .fixed(owner: true))
  #expect(value.nodeSettings(for: "lb1", interface: { _ in "eth0" }).vips[0].election == .fixed(owner: false))
  #expect(value.vips[0].lease == nil)
}

@Test func `a VIP without IPv4 is elected over IPv6`() throws {
  let value = try configuration(
    cluster + "vips: { web: { addresses: \"2001:db8::100\", vrrp: { id: 1 } } }\n")
  guard case .vrrp(let router) = value.vips[0].election else {
    Issue.record("no election")
    return
  }
  #expect(router.family == .ipv6)
  #expect(value.vips[0].prefer == ["lb1", "lb2", "lb3"])
}

@Test func `the hash is of the meaning, not of the text`() throws {
  let first = try configuration(
    cluster + "vips: { web: { addresses: [10.0.0.100], vrrp: { id: 1, interval: 1s } } }\n")
  let same = try configuration(
    "# A comment.\n" + cluster
      + "vips:\n  web:\n    vrrp: { interval: 1000ms, id: 1, version: 3 }\n    prefer: [lb1, lb2, lb3]\n    addresses: \"10.0.0.100\"\n"
  )
  let other = try configuration(
    cluster + "vips: { web: { addresses: [10.0.0.100], vrrp: { id: 1, interval: 2s } } }\n")
  #expect(first == same)
  #expect(first.hash == same.hash)
  #expect(first.hash != other.hash)
  #expect(first.hash.count == 16)
}

@Test func `every field counts for the hash`() throws {
  let base = try #require(Configuration.read(text: WrongForms.base, file: "base.yaml").configuration)
  var seen = [base.hash: "base"]
  for file in WrongForms.right where file.text != WrongForms.base {
    guard let value = Configuration.read(text: file.text, file: "x").configuration, value != base else { continue }
    #expect(seen.updateValue(file.change, forKey: value.hash) == nil, "\(file.change)")
  }
}
