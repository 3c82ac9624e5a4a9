import Balancing
import Node

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
      Key(
        "trackers", .names(of: "a tracker", tracker, most: 1024),
        "What is watched on each node, by a name of your choice; 'track' of a VIP says what it means for the VIP."),
      Key(
        "groups", .names(of: "a group", .list(.name(of: "a VIP"), most: 1024), most: 512),
        "VIPs that move together, by a name of your choice: two or more, with the same nodes in the same order."),
      Key(
        "notify", .names(of: "a notification", notification, most: 64),
        "Who is told of what happens on a node, by a name of your choice."),
    ])

  /// Preference gives priorities 254 and down to 1.
  private static let maximumNodes = 254
  private static let maximumAddresses = 16

  private static let cluster = Shape.keys(
    of: "the cluster",
    [
      Key(
        "secret", .oneOrMany(.file, most: 8),
        "A file with 32 random bytes or more, the same on each node; or a list of such files, the newest first. With it the nodes talk to each other over TLS, and adverts can be signed."
      ),
      Key(
        "port", .scalar(.whole(1...65535)), default: .number(Int(Configuration.Cluster.defaultPort)),
        "The TCP port of the peer link, over which the nodes talk to each other where there is a secret."),
      Key(
        "witness", .oneOrMany(.hostAddress, most: 8),
        "Hosts on the nodes' own network, usually the gateway: a node that hears nobody, and whom none of them answers, claims no VIP."
      ),
      Key(
        "realtime", .scalar(.boolean), default: .bool(true),
        "Whether the loop runs ahead of ordinary processes, with its memory locked, where the system allows it."),
      Key(
        "nodes", .names(of: "a node", node, most: maximumNodes), required: true,
        "The machines that may own VIPs: the addresses by which they reach each other, by name. In short `lb1: 10.0.0.11`, or `lb1: [10.0.0.11, \"2001:db8::11\"]`."
      ),
    ])

  private static let node = Shape.short(
    .hostAddress, most: maximumAddresses,
    long: .keys(
      of: "a node",
      [
        Key(
          "addresses", .oneOrMany(.hostAddress, most: maximumAddresses), required: true,
          "The node's own addresses, of either family.")
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
      Key(
        "warm-up", .scalar(.duration(.zero ... .seconds(300))), default: .string("3s"),
        "How long a node only listens, at most, after its link came up; it ends as soon as anything is received."),
      Key(
        "announce-every", .scalar(.durationOrOff(.seconds(1) ... .seconds(86_400))), default: .string("60s"),
        "How often the owner tells its neighbours again where the VIP is when nothing happens; or off."),
      Key(
        "before-announcing", hook,
        "A command that has to end before a new owner announces the VIP, where something outside must be told first; if it fails, that is told, and the VIP is announced all the same. It is killed, with its process group (all that it started, unless that has left the group, as with setsid), when the node stops owning the VIP."
      ),
      Key(
        "track", .names(of: "a tracker", .scalar(.consequence), most: 64),
        "What trackers mean for the VIP, TRACKER: forbid (a node where it is bad may not own the VIP), or by how much it lowers the node's priority there, 1 to 253."
      ),
      Key("vrrp", router, "The virtual router (RFC 9568); needed where election is vrrp."),
    ])

  private static let hook = Shape.keys(
    of: "a hook",
    [
      Key("command", .list(.argument, most: 64), required: true, "The program's absolute path and its arguments."),
      Key(
        "timeout", .scalar(.duration(.milliseconds(100) ... .seconds(60))), default: .string("5s"),
        "Then the command has failed."),
    ])

  private static let router = Shape.keys(
    of: "a virtual router",
    [
      Key(
        "id", .scalar(.whole(1...255)), required: true,
        "VRID: one that no other virtual router on the link has. Nodes with a link (cluster.secret) may learn of another one by turns; without, put all but the owner on standby first (`roost node standby`), or there are two owners until the last one knows."
      ),
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
        "family",
        .scalar(
          .choice(
            ["ipv4", "ipv6"],
            instead: [
              "both":
                "for an election in each family write two VIPs, one with the IPv4 and one with the IPv6 addresses, and let them move as one: `groups: { web: [web4, web6] }`; a service then names one of them, so it is written twice (examples/both-families.yaml)"
            ])),
        "Over which family adverts are sent; ipv4 if the VIP has an IPv4 address, if absent. The VIP's addresses of both families move with it. Neighbours that need an election in each family: two VIPs and a group of them."
      ),
      Key(
        "accept", .scalar(.boolean), default: .bool(true),
        "Whether the owner answers packets to the VIP itself (Accept_Mode); false for a VIP that is only a gateway."),
      Key(
        "checksum", .scalar(.choice(["pseudo-header", "message", "learned"])), default: .string("pseudo-header"),
        "What the checksum of version 3 over IPv4 covers; learned: what the last valid advert of a peer used."),
      Key("auth", authentication, "How adverts are signed and judged (draft-cassen-vrrp-auth-hmac-00)."),
      Key(
        "virtual-mac", .scalar(.boolean), default: .bool(false),
        "Whether the VIP is on an interface of its own with the MAC address that RFC 9568 gives each VRID."),
    ])

  private static let authentication = Shape.keys(
    of: "auth",
    [
      Key(
        "mode", .scalar(.choice(Configuration.Authentication.Mode.allCases.map(\.rawValue))), required: true,
        "off; receive: signatures are judged, none is sent; permissive: adverts are signed, unsigned ones are taken too; enforce: only signed ones count. To switch a cluster over, go through them in this order."
      ),
      Key(
        "keys", .numbers(of: "a key", 1...255, .scalar(.file), most: 8),
        "ID: FILE with 32 to 64 random bytes, the same on each node; adverts are signed with the first. Derived from the cluster's secret if absent."
      ),
    ])

  private static let tracker = Shape.keys(
    of: "a tracker",
    [
      Key(
        "interface", .short(.interface, long: .names(of: "a node", .scalar(.interface), most: maximumNodes)),
        "Good while this interface is up and has a carrier; or NODE: INTERFACE where the names differ."),
      Key("route", .scalar(.prefix), "Good while there is a route to exactly this prefix, such as 0.0.0.0/0."),
      Key("table", .scalar(.whole(1...999_999_999)), "The routing table that has the route; the main one if absent."),
      Key("file", .scalar(.file), "Good while this file exists."),
      Key("process", .scalar(.process), "Good while a program of this name runs."),
      Key(
        "command", .list(.argument, most: 64),
        "The program's absolute path and its arguments; good while it exits with 0. One runs at a time."),
      Key("user", .scalar(.user), "As whom the command runs; nobody, if absent."),
      Key("vip", .scalar(.name(of: "a VIP")), "Good while the node owns this VIP."),
      Key("service", .scalar(.name(of: "a service")), "Good while this service has enough backends that take traffic."),
      Key("at-least", .scalar(.whole(1...4096)), default: .number(1), "How many backends are enough."),
      Key(
        "check", .short(.choice(["tcp"]), long: trackedCheck),
        "Good while a check of 'address' passes: tcp, or http: PATH."),
      Key("address", .scalar(.endpoint), "What is checked: ADDRESS:PORT."),
      Key(
        "every", .scalar(.duration(.milliseconds(10) ... .seconds(86_400))), default: .string("1s"),
        "How often it is looked at; what the kernel tells of is seen at once besides."),
      Key(
        "timeout", .scalar(.duration(.milliseconds(1) ... .seconds(86_400))), default: .string("1s"),
        "How long a command or a check may take: at most 'every', which is the default where that is less than 1s."),
      Key(
        "rise", .scalar(.whole(1...100)),
        "Good looks in a row that make it good: 2 of a command or check, 1 of the rest, if absent."),
      Key(
        "fall", .scalar(.whole(1...100)),
        "Bad looks in a row that make it bad: 3 of a command or check, 1 of the rest, if absent."),
    ])

  private static let trackedCheck = Shape.keys(
    of: "a tracker's check",
    [
      Key("http", .scalar(.path), required: true, "A GET of this path has to be answered."),
      Key("host", .scalar(.host), "The Host header; the address and port if absent."),
      Key(
        "status", .oneOrMany(.status, most: 64), default: .string("200-399"),
        "Which status codes pass: one, a range, or a list."),
      Key("contains", .scalar(.anyText), "Text that the body has to contain."),
    ])

  private static let notification = Shape.keys(
    of: "a notification",
    [
      Key(
        "command", .list(.argument, most: 64),
        "The program's absolute path and its arguments; it reads what happened from its standard input, as JSON."),
      Key("webhook", .scalar(.webAddress), "A URL to which what happened is sent as JSON, by POST."),
      Key("authorization", .scalar(.file), "A file with the value of the webhook's Authorization header."),
      Key(
        "events", .oneOrMany(.choice(Occurrence.Kind.allCases.map(\.rawValue)), most: 64),
        "The kinds of events that are told; all if absent."),
      Key(
        "timeout", .scalar(.duration(.milliseconds(100) ... .seconds(300))), default: .string("10s"),
        "How long one attempt may take."),
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
