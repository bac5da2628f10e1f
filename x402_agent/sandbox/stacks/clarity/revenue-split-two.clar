;; 80 % to whoever made the content, 20 % to the platform. The form with two arguments: content without a price takes
;; any amount, and its maker is then the platform.
(define-constant owner tx-sender)
(define-map contents (string-ascii 50) { maker: principal, price: uint })
(define-map paid { content: (string-ascii 50), who: principal } bool)

(define-public (register-content (content-id (string-ascii 50)) (price uint))
  (begin
    (asserts! (map-insert contents content-id { maker: tx-sender, price: price }) (err u102))
    (ok true)))

(define-public (set-price (content-id (string-ascii 50)) (price uint))
  (let ((content (unwrap! (map-get? contents content-id) (err u103))))
    (asserts! (is-eq tx-sender (get maker content)) (err u100))
    (map-set contents content-id { maker: tx-sender, price: price })
    (ok true)))

(define-public (pay-for-content (content-id (string-ascii 50)) (payment-amount uint))
  (let ((content (default-to { maker: owner, price: u0 } (map-get? contents content-id))))
    (asserts! (>= payment-amount (get price content)) (err u101))
    (try! (stx-transfer? (/ (* payment-amount u80) u100) tx-sender (get maker content)))
    (try! (stx-transfer? (/ (* payment-amount u20) u100) tx-sender owner))
    (map-set paid { content: content-id, who: tx-sender } true)
    (ok true)))

(define-read-only (get-price (content-id (string-ascii 50)))
  (default-to u0 (get price (map-get? contents content-id))))
(define-read-only (has-paid (content-id (string-ascii 50)) (who principal))
  (default-to false (map-get? paid { content: content-id, who: who })))
