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

@Test func `trackers, groups, peers and witnesses reach the control plane by number`() throws {
  let value = try configuration(
    """
    cluster:
      secret: /etc/roost/secret
      witness: 10.0.0.1
      nodes: { lb1: 10.0.0.11, lb2: 10.0.0.12, lb3: 10.0.0.13 }
    trackers:
      uplink: { interface: { lb1: eth1, lb2: eth2, lb3: eth3 }, fall: 3 }
      front: { vip: web }
      enough: { service: web, at-least: 2 }
      script: { command: [/bin/true], every: 500ms }
    vips:
      web:
        addresses: [10.0.0.100]
        warm-up: 500ms
        announce-every: off
        before-announcing: { command: [/bin/true], timeout: 2s }
        track: { enough: forbid, uplink: 20 }
        vrrp: { id: 51, accept: true }
      api:
        addresses: [10.0.0.101]
        track: { front: 5, script: forbid }
        vrrp: { id: 52 }
      mail: { addresses: [10.0.0.102], vrrp: { id: 53 } }
      still: { addresses: [10.0.0.103], election: static, prefer: [lb1] }
    groups:
      pair: [mail, api]
    services:
      web: { vip: web, listen: 80/tcp, backends: { app1: 10.0.0.21, app2: 10.0.0.22 } }

    """)
  let settings = value.nodeSettings(for: "lb2", interface: { _ in "eth0" })
  #expect(
    settings.trackers == [
      TrackerSettings(name: "uplink", source: .external, rise: 1, fall: 3),
      TrackerSettings(name: "front", source: .vip(0)),
      TrackerSettings(name: "enough", source: .service(0, atLeast: 2)),
      TrackerSettings(name: "script", source: .external, rise: 2, fall: 3),
    ])
  #expect(settings.groups == [[2, 1]])
  #expect(settings.peers == ["lb1", "lb3"])
  #expect(settings.hasWitnesses)
  #expect(
    settings.vips[0].tracks == [
      VIPSettings.Track(tracker: 2, consequence: .forbid), VIPSettings.Track(tracker: 0, consequence: .lower(20)),
    ])
  #expect(settings.vips[0].warmUp == .milliseconds(500))
  #expect(settings.vips[0].refresh == nil)
  #expect(settings.vips[0].preparation == .seconds(2))
  #expect(settings.vips[1].warmUp == .seconds(3))
  #expect(settings.vips[1].refresh == .seconds(60))
  #expect(settings.vips[1].preparation == nil)
  // Nobody to listen to.
  #expect(settings.vips[3].warmUp == .zero)
  #expect(value.trackers[0].interface(on: "lb3") == "eth3")
  // A timeout follows a short interval.
  #expect(value.trackers[3].timeout == .milliseconds(500))
}

@Test func `without a secret there is no peer link`() throws {
  let value = try configuration(cluster + "vips: { web: { addresses: 10.0.0.100, vrrp: { id: 1 } } }\n")
  #expect(value.nodeSettings(for: "lb1", interface: { _ in "eth0" }).peers.isEmpty)
  #expect(value.cluster.port == 7112)
  #expect(value.cluster.realtime)
}

@Test(arguments: [
  ("http://10.0.0.9", "10.0.0.9", 80, "/", false), ("http://10.0.0.9:8080/a?b=c", "10.0.0.9", 8080, "/a?b=c", false),
  ("https://hooks.example.org/x", "hooks.example.org", 443, "/x", true),
  ("http://[2001:db8::9]:81", "2001:db8::9", 81, "/", false), ("http://a?b", "a", 80, "/?b", false),
])
func `a URL comes apart, and together again`(
  text: String, host: String, port: Int, target: String, isSecure: Bool
) throws {
  let address = try #require(Configuration.WebAddress(text))
  #expect(address.host == host)
  #expect(Int(address.port) == port)
  #expect(address.target == target)
  #expect(address.isSecure == isSecure)
  #expect(Configuration.WebAddress(address.description) == address)
}
