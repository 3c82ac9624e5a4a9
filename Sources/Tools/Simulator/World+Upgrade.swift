import Basis
import Node

// `roost upgrade`: another process goes on in the daemon's place.
//
// As in the daemon: the new process gets ready beside the old one, which loses nothing meanwhile; then the address thread rests, the state goes
// over, and what it names is carried on. The few milliseconds in which neither acts are told more strictly than they are: whatever arrives in
// them is lost. What the old process still waited for (checks, orders not yet worked off, streams to the peers) ends with it, and another
// guardian watches a little later; in between there is only the kernel's lease.

extension World {
  private static var mostAttempts: UInt32 { 40 }

  mutating func upgrade(_ node: Int) {
    guard daemons[node].state == .running else { return }
    // It reads its configuration, and opens its sockets.
    let time = 20_000_000 + Int64(random.next(below: 80_000_000))
    queue.add(.succeed, at: now + time, node: node, life: daemons[node].life)
  }

  mutating func succeed(_ node: Int, _ entry: Entry) {
    let old = daemons[node]
    guard old.life == entry.life, old.state == .running || old.state == .stalled, picture.stopAsked[node] == nil else {
      return
    }
    // A VIP comes or goes, the loop stands still, the kernel is at a message: refused, and asked for again.
    guard old.state == .running, !old.mustLook, old.messageUntil <= now, let said = planes[node].succession,
      let resumption = try? Resumption(said.bytes)
    else {
      guard entry.slot < Self.mostAttempts else { return }
      queue.add(.succeed, at: now + 25_000_000, node: node, life: old.life, slot: Int(entry.slot) + 1)
      return
    }
    narrate?(now, "another process goes on as lb\(node + 1)")
    daemons[node] = Daemon()
    daemons[node].state = .running
    daemons[node].life = old.life &+ 1
    daemons[node].workersAreWell = old.workersAreWell
    daemons[node].isOnStandby = old.isOnStandby
    daemons[node].startsAgain = old.startsAgain
    daemons[node].silentUntil = now + 500_000 + Int64(random.next(below: 2_500_000))
    endGuardian(node)
    respawnGuardian(node)
    movements.ended(node)
    peers.forget(node)
    adverts.succeed(node)
    let settings = files.current(node)
    files.running[node] = settings
    for vip in 0..<vips {
      picture.configure(node, vip, settings.vips.indices.contains(vip) && !settings.vips[vip].isVacant)
    }
    let seed = random.next()
    planes[node] = Plane(settings, seed: seed)
    recorder?.begin(node, settings, seed: seed)
    tellLink(node)
    if !old.workersAreWell { deliver(.workers(healthy: false), to: node) }
    deliver(.resume(resumption), to: node)
    // What the old one's thread was to look at.
    for vip in 0..<vips where kernels[node].places[vip].discrepancy(at: now, isFenced: isFenced) != nil {
      lookSoon(node, vip)
    }
    reviewPeers()
    changed()
  }
}
