import Basis
import Node
import Peering

// Peer links: they come up, carry what nodes say, and break.

extension World {
  /// Something may have changed for any of them.
  mutating func reviewPeers() {
    guard peers.isOn else { return }
    for first in 0..<nodes {
      for second in first + 1..<max(first + 1, nodes) { plan(pair: peers.pair(first, second), first, second) }
    }
  }

  private func exists(_ node: Int) -> Bool { daemons[node].state == .running || daemons[node].state == .stalled }

  private func carries(_ first: Int, _ second: Int) -> Bool {
    picture.network.carriesStream(first, second) && !peers.isCut(first, second)
  }

  private mutating func plan(pair: Int, _ first: Int, _ second: Int) {
    let link = peers.links[pair]
    let carries = carries(first, second)
    let pause: Int64
    if link.isUp {
      guard link.isBroken || !carries || !exists(first) || !exists(second) else { return }
      // A process that ends closes its streams; what is cut shows by silence.
      pause =
        carries
        ? 300_000 + Int64(random.next(below: 2_000_000)) : 100_000_000 + Int64(random.next(below: 1_400_000_000))
    } else {
      guard carries, daemons[first].state == .running, daemons[second].state == .running else { return }
      pause = 20_000_000 + Int64(random.next(below: 480_000_000))
    }
    guard now + pause < link.lookAt else { return }
    peers.links[pair].lookAt = now + pause
    queue.add(.peers, at: now + pause, slot: pair)
  }

  mutating func reviewPair(_ pair: Int) {
    guard peers.links[pair].lookAt <= now else { return }
    peers.links[pair].lookAt = .max
    let first = pair / nodes, second = pair % nodes
    let carries = carries(first, second)
    if peers.links[pair].isUp, peers.links[pair].isBroken || !carries || !exists(first) || !exists(second) {
      peers.links[pair].isUp = false
      peers.links[pair].life &+= 1
      tellPeer(.down, of: second, to: first)
      tellPeer(.down, of: first, to: second)
    } else if !peers.links[pair].isUp, carries, daemons[first].state == .running, daemons[second].state == .running {
      peers.links[pair].isUp = true
      peers.links[pair].isBroken = false
      peers.links[pair].life &+= 1
      tellPeer(.up, of: second, to: first)
      tellPeer(.up, of: first, to: second)
    }
    plan(pair: pair, first, second)
  }

  private mutating func tellPeer(_ report: PeerReport, of peer: Int, to node: Int) {
    deliver(.peer(peer < node ? peer : peer - 1, report), to: node)
  }

  mutating func tell(_ message: PeerMessage, to target: Int, from node: Int) {
    guard peers.isOn, target >= 0, target < nodes, target != node else { return }
    let pair = peers.pair(node, target)
    guard peers.links[pair].isUp else { return }
    guard carries(node, target) else {
      peers.links[pair].isBroken = true
      return
    }
    let delay = picture.network.streamDelay(node, target, &random)
    // In order.
    let last = node < target ? peers.links[pair].upward : peers.links[pair].downward
    let time = max(now + delay, last + 1)
    if node < target { peers.links[pair].upward = time } else { peers.links[pair].downward = time }
    let slot = jobs.put(.said(message, from: node, pair: pair, life: peers.links[pair].life))
    queue.add(.said, at: time, node: target, life: daemons[target].life, slot: slot)
  }

  mutating func said(_ node: Int, _ entry: Entry) {
    guard let job = jobs.take(Int(entry.slot)), case .said(let message, let from, let pair, let life) = job,
      daemons[node].life == entry.life, peers.links[pair].life == life
    else { return }
    // What a segment's loss delayed is sent again, and that needs a path, too.
    guard carries(from, node) else {
      peers.links[pair].isBroken = true
      return
    }
    tellPeer(.said(message), of: from, to: node)
  }
}
