import Basis
import Node
import VRRP

// Events and effects in few words, for the trace of a violation.

func describe(_ event: Event) -> String {
  switch event {
  case .advert(let envelope, let message):
    // Priority is the third byte of a VRRP message, in v2 and v3 alike (RFC 9568 §5.1).
    let priority = message.count > 2 ? "\(message[2])" : "?"
    return "advert from \(envelope.source), priority \(priority)"
  case .address(let vip, let report): return "VIP \(vip + 1): \(report)"
  case .check(_, let backend, _, let result): return "check of app\(backend + 1): \(result.message)"
  default: return "\(event)"
  }
}

func describe(_ effect: Effect) -> String {
  switch effect {
  case .transmit(let vip, let message, let destination):
    let priority = message.count > 2 ? "\(message[2])" : "?"
    return "advert for VIP \(vip + 1), priority \(priority), to \(destination)"
  case .take(let vip, let generation, _, _): return "take VIP \(vip + 1), generation \(generation)"
  case .renew(let vip, let generation, _): return "renew VIP \(vip + 1), generation \(generation)"
  case .release(let vip, let generation): return "release VIP \(vip + 1), generation \(generation)"
  case .report(let occurrence): return "says: \(occurrence)"
  default: return "\(effect)"
  }
}
