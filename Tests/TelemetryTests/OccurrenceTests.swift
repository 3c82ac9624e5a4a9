import Basis
import Node
import Telemetry
import Testing
import VRRP
import Wire

@Test func `every occurrence is one line that says what happened to what, and how loud`() {
  let vip = IPAddress.v4(IPv4Address(10, 0, 0, 100))
  let peer = IPAddress.v4(IPv4Address(10, 0, 0, 12))
  let settings = NodeSettings(
    name: "lb1",
    vips: [
      VIPSettings(
        name: "web", interface: "eth0", addresses: [vip], election: .fixed(owner: true), lease: nil, drain: .zero)
    ], services: [ServiceSettings(name: "site", vip: 0, backends: ["app1", "app2"], check: nil)])
  let cases: [(Occurrence, LogLevel, String)] = [
    (.became(.active, vip: 0, reason: "no advert from anybody"), .notice, "vip web: active (no advert from anybody)"),
    (.became(.fault, vip: 0, reason: "eth0 is down"), .error, "vip web: fault (eth0 is down)"),
    (
      .notice(vip: 0, .intervalMismatch(from: peer, theirs: .seconds(1), ours: .milliseconds(100))), .warning,
      "vip web: 10.0.0.12 advertises every 1 s, this node every 100 ms: set the same interval on both"
    ),
    (
      .backend(.down, service: 0, backend: 1, message: "connection refused"), .warning,
      "service site: app2 is down (connection refused)"
    ),
    (.backend(.up, service: 0, backend: 0, message: "HTTP 200"), .notice, "service site: app1 is up (HTTP 200)"),
    (.allBackendsDown(service: 0), .error, "service site: no backend is up; connections are refused"),
    (.backendsAgain(service: 0), .notice, "service site: served again"),
    (
      .addressPutBack(vip: 0), .warning,
      "vip web: another program removed an address; it is back (does systemd-networkd or NetworkManager manage eth0?)"
    ),
    (
      .addressRefused(vip: 0, code: 13), .error,
      "vip web: the kernel refused the address on eth0 (errno 13); trying again"
    ),
    (
      .addressLost(vip: 0), .error,
      "vip web: the address is gone, so this node makes way"
    ),
    (
      .splitBrain(vip: 0, owners: [.node("lb1"), .address(peer)], isHeard: true), .error,
      "vip web: SPLIT BRAIN: lb1 and 10.0.0.12 own it at the same time; the other's adverts are heard here, so it does not hear this node's: look at what drops IP protocol 112 on the way to it (firewall, switch, multicast filter), at keys and at clocks; `roost doctor` on each node tells which"
    ),
    (
      .splitBrainOver(vip: 0, lasted: .milliseconds(184_500)), .notice,
      "vip web: the split brain is over after 3 min 4 s"
    ),
    (
      .handedOver(vip: 0, to: "lb2", vacant: .nanoseconds(854_321)), .notice,
      "vip web: handed over to lb2; nobody owned it for at most 0.85 ms"
    ),
    (.stopping, .notice, "stopping"),
  ]
  for (occurrence, level, text) in cases {
    #expect(settings.text(of: occurrence) == text)
    #expect(settings.level(of: occurrence) == level)
  }
}

@Test(
  arguments: [
    (0, "0 ms"), (400, "0 ms"), (40_000, "0.04 ms"), (854_321, "0.85 ms"), (1_000_000, "1 ms"), (3_149_999, "3.1 ms"),
    (330_900_000, "330 ms"), (1_000_000_000, "1 s"), (3_650_000_000, "3.6 s"), (59_999_999_999, "59.9 s"),
    (60_000_000_000, "1 min 0 s"), (7_800_000_000_000, "2 h 10 min"), (-2_600_000_000, "-2.6 s"),
    (.max, "106751 d 23 h"), (.min, "-106751 d 23 h"),
  ] as [(Int64, String)])
func `a duration is in the unit that people would use`(nanoseconds: Int64, words: String) {
  #expect(Duration.nanoseconds(nanoseconds).words == words)
}
