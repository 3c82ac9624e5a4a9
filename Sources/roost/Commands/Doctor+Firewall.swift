import Basis
import Glibc
import Linux
import Notify
import Wire

extension Findings {
  mutating func lookAtFirewall(_ patient: Patient) {
    let places = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"]
    guard let nft = places.first(where: { (place: String) in access(place, X_OK) == 0 }) else {
      return add(.unknown, "firewall", "nft is not installed, so the rules can't be read", fix: "apt install nftables")
    }
    let listing = Program.output(of: [nft, "list", "ruleset"], until: Clock.now() + .seconds(10))
    guard let listing else {
      return add(.unknown, "firewall", "the rules can't be read", fix: "run the doctor as root")
    }
    judge(Firewall(listing), patient)
  }

  /// By the rules' text, so it errs where rules are clever: what passes between the nodes is the proof (`lookAtDaemon`).
  mutating func judge(_ firewall: Firewall, _ patient: Patient) {
    let before = all.count
    let families = Set(patient.interfaces.flatMap(\.elections))
    for family in [AddressFamily.ipv4, .ipv6] where families.contains(family) {
      let name = family == .ipv4 ? "IPv4" : "IPv6"
      let accept = family == .ipv4 ? "ip protocol vrrp accept" : "meta l4proto vrrp accept"
      for direction in [Firewall.Direction.input, .output] {
        let way = direction == .input ? "in" : "out"
        switch firewall.verdict(on: [["vrrp"], ["112"]], family, direction) {
        case .passes: break
        case .dropped(let rule, let chain):
          add(
            .failed, "firewall", "chain \(chain) drops adverts over \(name) on the way \(way): \(rule)",
            fix: "remove that rule")
        case .unmatched(let chain):
          add(
            .failed, "firewall",
            "chain \(chain) drops what no rule accepts, and none accepts adverts over \(name) on the way \(way)",
            fix: "nft add rule \(chain) \(accept)")
        }
      }
    }
    if let port = patient.peerPort {
      for family in [AddressFamily.ipv4, .ipv6] where families.contains(family) {
        switch firewall.verdict(on: [["tcp", "dport", "\(port)"]], family, .input) {
        case .passes: break
        case .dropped(let rule, let chain):
          add(
            .failed, "firewall", "chain \(chain) drops the peer link (TCP port \(port)): \(rule)",
            fix: "remove that rule")
        case .unmatched(let chain):
          // The node that calls needs no rule for answers, where connections are tracked.
          add(
            .warning, "firewall",
            "chain \(chain) drops what no rule accepts, and none accepts the peer link (TCP port \(port))",
            fix: "nft add rule \(chain) tcp dport \(port) accept")
        }
        break
      }
    }
    if all.count == before { add(.ok, "firewall", "no rule is seen that drops adverts or the peer link") }
  }
}

/// What `nft list ruleset` prints, as far as it has to be understood here.
struct Firewall: Sendable {
  enum Direction: String, Sendable { case input, output }

  enum Verdict: Sendable, Hashable {
    case passes
    case dropped(rule: String, chain: String)
    /// Nothing accepts it, and the chain drops the rest.
    case unmatched(chain: String)
  }

  private struct Chain {
    /// As nft names it: `inet filter input`.
    var name: String
    var table: String
    var family: String
    var hook: String?
    var drops = false
    var rules: [String] = []
  }

  private var chains: [Chain] = []

  init(_ listing: String) {
    var table = "", family = ""
    var chain: Chain?
    for line in listing.split(separator: "\n") {
      let text = line.drop { $0 == "\t" || $0 == " " }
      let words = text.split(separator: " ")
      if words.first == "table", words.count >= 3 {
        (family, table) = (String(words[1]), String(words[2]))
      } else if words.first == "chain", words.count >= 2 {
        chain = Chain(name: "\(family) \(table) \(words[1])", table: "\(family) \(table)", family: family)
      } else if text == "}" {
        if let done = chain { chains.append(done) }
        chain = nil
      } else if words.first == "type", let hook = words.firstIndex(of: "hook") {
        chain?.hook = words.indices.contains(hook + 1) ? String(words[hook + 1]) : nil
        chain?.drops = text.contains("policy drop")
      } else if chain != nil {
        chain?.rules.append(String(text))
      }
    }
  }

  /// What happens to packets that rules with all words of one of the lists are about.
  func verdict(on words: [[String]], _ family: AddressFamily, _ direction: Direction) -> Verdict {
    let families = ["inet", family == .ipv4 ? "ip" : "ip6"]
    // Each base chain on the way can drop a packet, whatever the others say.
    for chain in chains
    where chain.hook == direction.rawValue && families.contains(chain.family) && !chain.table.hasSuffix(" roost") {
      var hops = 0
      switch walk(chain, words, &hops) {
      case .accepted: continue
      case .dropped(let rule): return .dropped(rule: rule, chain: chain.name)
      case .undecided: if chain.drops { return .unmatched(chain: chain.name) }
      case .ended: return .unmatched(chain: chain.name)
      }
    }
    return .passes
  }

  private enum Step {
    case accepted
    case dropped(String)
    /// Dropped with everything that came so far.
    case ended
    case undecided
  }

  private func walk(_ chain: Chain, _ wanted: [[String]], _ hops: inout Int) -> Step {
    hops += 1
    guard hops < 64 else { return .undecided }
    for rule in chain.rules {
      let words = rule.split { !$0.isLetter && !$0.isNumber && $0 != "_" && $0 != "-" && $0 != "." }.map(String.init)
      let isAbout = wanted.contains { list in list.allSatisfy(words.contains) }
      let isForAll = Self.isForAll(words)
      guard isAbout || isForAll else { continue }
      if words.contains("drop") || words.contains("reject") { return isAbout ? .dropped(rule) : .ended }
      if words.contains("accept") { return .accepted }
      for (place, word) in words.enumerated()
      where (word == "jump" || word == "goto") && words.indices.contains(place + 1) {
        guard let next = chains.first(where: { $0.name == "\(chain.table) \(words[place + 1])" }) else { continue }
        switch walk(next, wanted, &hops) {
        case .undecided: if word == "goto" { return .undecided }
        case let step: return step
        }
      }
    }
    return .undecided
  }

  /// Nothing in it restricts what it is about, but for an interface, which can be the right one.
  private static func isForAll(_ words: [String]) -> Bool {
    var rest = words[...]
    if let first = rest.first, ["iifname", "oifname", "iif", "oif"].contains(first) {
      // One that names the loopback interface is about nobody else.
      guard !rest.contains("lo") else { return false }
      rest = rest.dropFirst(2)
    }
    let actions: Set<String> = ["accept", "drop", "reject", "jump", "goto", "counter", "log", "comment"]
    guard let first = rest.first else { return false }
    return actions.contains(first)
  }
}
