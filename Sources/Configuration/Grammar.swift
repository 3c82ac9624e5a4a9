import Balancing

/// The keys of the file, all of them, in one table: what the reader knows, suggests and refuses, and what the schema says.
enum Grammar {
  static let file = Shape.keys(
    of: "the file",
    [
      Key("cluster", cluster, required: true, "The nodes, and what they share."),
      Key(
        "vips", .names(of: "a VIP", vip, most: 1024), required: true,
        "The virtual IP addresses, by a name of your choice."),
      Key(
        "services", .names(of: "a service", service, most: 4096),
        "What is offered on the VIPs, by a name of your choice."),
    ])

  /// Preference gives priorities 254 and down to 1.
  private static let maximumNodes = 254

  private static let cluster = Shape.keys(
    of: "the cluster",
    [
      Key(
        "secret", .oneOrMany(.file, most: 8),
        "A file with 32 random bytes or more, the same on each node; or a list of such files, the newest first. Checked, and not used by this version."
      ),
      Key(
        "nodes", .names(of: "a node", node, most: maximumNodes), required: true,
        "The machines that may own VIPs: the addresses by which they reach each other, by name."),
    ])

  private static let node = Shape.short(
    .hostAddress,
    long: .keys(
      of: "a node",
      [
        Key(
          "addresses", .oneOrMany(.hostAddress, most: 16), required: true, "The node's own addresses, of either family."
        )
      ]))

  private static let vip = Shape.keys(
    of: "a VIP",
    [
      Key(
        "addresses", .oneOrMany(.vipAddress, most: 64), required: true,
        "One address or more, of either family and without prefix length, which move between nodes as one."),
      Key(
        "interface", .short(.interface, long: .names(of: "a node", .scalar(.interface), most: maximumNodes)),
        "The interface that holds the VIP; or NODE: INTERFACE where the names differ. Inferred from the subnet if absent."
      ),
      Key(
        "prefer", .list(.name(of: "a node"), most: maximumNodes),
        "Which nodes may own the VIP, the most preferred first; all, in the order of cluster.nodes, if absent."),
      Key(
        "election", .scalar(.choice(["vrrp", "static"], later: ["etcd"])), default: .string("vrrp"),
        "How the owner is found: vrrp, or static (the one node of 'prefer', always)."),
      Key(
        "address-lease", .scalar(.lease), default: .string("2s"),
        "How long the kernel keeps an address that nobody renews, in whole seconds; off for ever."),
      Key(
        "drain", .scalar(.duration(.zero ... .seconds(3600))), default: .string("1s"),
        "How long proxied connections may go on before a polite stop resets them."),
      Key("vrrp", router, "The virtual router (RFC 9568); needed where election is vrrp."),
      .later("track"),
    ])

  private static let router = Shape.keys(
    of: "a virtual router",
    [
      Key("id", .scalar(.whole(1...255)), required: true, "VRID: one that no other virtual router on the link has."),
      // The version decides what exactly is allowed: `CrossChecks`.
      Key(
        "interval", .scalar(.duration(.milliseconds(10) ... .seconds(255))), default: .string("1s"),
        "How often the owner sends an advert: 10ms to 40.95s in steps of 10ms; for version 2, 1s to 255s in whole seconds."
      ),
      Key("version", .scalar(.whole(2...3)), default: .number(3), "Of VRRP: 3, or 2 for old neighbours."),
      Key(
        "preempt", .scalar(.boolean), default: .bool(true),
        "Whether a more preferred node takes the VIP from a working owner."),
      Key(
        "preempt-delay", .scalar(.duration(.zero ... .seconds(86_400))), default: .string("0s"),
        "How long it leaves the owner alone after it came back."),
      Key(
        "peers", .scalar(.choice(["multicast", "unicast"])), default: .string("multicast"),
        "To whom adverts go; unicast: from and to the first address of each node, for networks without multicast."),
      Key(
        "family", .scalar(.choice(["ipv4", "ipv6"], later: ["both"])),
        "Over which family adverts are sent; ipv4 if the VIP has an IPv4 address, if absent."),
      Key(
        "accept", .scalar(.boolean), default: .bool(true),
        "Whether the owner answers packets to the VIP itself (Accept_Mode); only true is available in this version."),
      Key(
        "checksum", .scalar(.choice(["pseudo-header", "message", "learned"])), default: .string("pseudo-header"),
        "What the checksum of version 3 over IPv4 covers; learned: what the last valid advert of a peer used."),
      .later("auth"),
      .later("virtual-mac"),
    ])

  private static let service = Shape.keys(
    of: "a service",
    [
      Key("vip", .scalar(.name(of: "a VIP")), required: true, "The VIP that the service is reached by."),
      Key(
        "listen", .oneOrMany(.listen, most: 64), required: true,
        "PORT/tcp, a range such as 8000-8010/tcp, or a list of them."),
      Key(
        "mode", .scalar(.choice(Configuration.Mode.allCases.map(\.rawValue), later: ["nat", "dsr", "tunnel"])),
        default: .string("proxy"), "How connections reach a backend: proxy, through this node."),
      Key(
        "balance",
        .scalar(
          .choice(
            Balancer.Policy.allCases.map(\.rawValue), later: ["least-load", "maglev", "first-available"])),
        default: .string(Balancer.Policy.standard.rawValue), "How a backend is chosen."),
      Key(
        "check", .short(.choice(["tcp"]), long: check), "How backends are probed; they are taken for healthy if absent."
      ),
      Key(
        "backends", .names(of: "a backend", backend, most: 4096), required: true,
        "The servers behind the service, by a name of your choice."),
      Key("limits", limits, "What the service may use up."),
    ])

  private static let check = Shape.keys(
    of: "a check",
    [
      Key("tcp", .scalar(.yes), "The backend has to accept a connection."),
      Key("http", .scalar(.path), "The backend has to answer a GET of this path."),
      Key("host", .scalar(.host), "The Host header; the backend's address and port if absent."),
      Key(
        "status", .oneOrMany(.status, most: 64), default: .string("200-399"),
        "Which status codes pass: one, a range, or a list."),
      Key("contains", .scalar(.anyText), "Text that the body has to contain."),
      Key(
        "every", .scalar(.duration(.milliseconds(10) ... .seconds(86_400))), default: .string("1s"),
        "From the start of one check to the start of the next."),
      Key(
        "timeout", .scalar(.duration(.milliseconds(1) ... .seconds(86_400))), default: .string("1s"),
        "How long a check may take: at most 'every', which is the default where that is less than 1s."),
      Key("rise", .scalar(.whole(1...100)), default: .number(2), "Successes in a row that bring a backend up."),
      Key("fall", .scalar(.whole(1...100)), default: .number(3), "Failures in a row that take a backend down."),
      Key("port", .scalar(.whole(1...65535)), "The port that is probed; the backend's own if absent."),
    ])

  private static let backend = Shape.short(
    .endpoint,
    long: .keys(
      of: "a backend",
      [
        Key(
          "address", .scalar(.endpoint), required: true,
          "ADDRESS or ADDRESS:PORT, an IPv6 address with a port as \"[2001:db8::1]:80\". Without a port: the one that the client connected to."
        ),
        Key(
          "weight", .scalar(.whole(1...256)), default: .number(100),
          "The backend's share of the traffic, relative to the others."),
      ]))

  private static let limits = Shape.keys(
    of: "limits",
    [
      Key(
        "maximum-connections", .scalar(.whole(1...10_000_000)), default: .number(50_000),
        "Connections of clients at a time; the next is refused."),
      Key(
        "connect-timeout", .scalar(.duration(.milliseconds(10) ... .seconds(300))), default: .string("2s"),
        "How long a backend may take to accept a connection."),
      Key(
        "idle-timeout", .scalar(.duration(.seconds(1) ... .seconds(604_800))), default: .string("1h"),
        "How long a connection may carry nothing."),
      Key(
        "retries", .scalar(.whole(0...16)), default: .number(2),
        "How many other backends are tried after one did not accept."),
    ])
}
