;; 80 % to whoever made the content, 20 % to the platform. The form with four arguments.
(define-constant owner tx-sender)
(define-map contents (string-ascii 256) { maker: principal, price: uint })
(define-map used (string-ascii 64) bool)
(define-map paid { content: (string-ascii 256), who: principal } bool)

(define-public (register-content (content-id (string-ascii 256)) (price uint))
  (begin
    (asserts! (map-insert contents content-id { maker: tx-sender, price: price }) (err u102))
    (ok true)))

(define-public (set-price (content-id (string-ascii 256)) (price uint))
  (let ((content (unwrap! (map-get? contents content-id) (err u103))))
    (asserts! (is-eq tx-sender (get maker content)) (err u100))
    (map-set contents content-id { maker: tx-sender, price: price })
    (ok true)))

(define-public (pay-for-content (content-id (string-ascii 256)) (amount uint) (asset (string-ascii 10)) (tx-id (string-ascii 64)))
  (let ((content (unwrap! (map-get? contents content-id) (err u103))))
    (asserts! (is-none (map-get? used tx-id)) (err u104))
    (asserts! (>= amount (get price content)) (err u101))
    (if (is-eq asset "STX")
      (begin
        (try! (stx-transfer? (/ (* amount u80) u100) tx-sender (get maker content)))
        (try! (stx-transfer? (/ (* amount u20) u100) tx-sender owner)))
      true)
    (map-set used tx-id true)
    (map-set paid { content: content-id, who: tx-sender } true)
    (ok true)))

(define-read-only (get-price (content-id (string-ascii 256)))
  (default-to u0 (get price (map-get? contents content-id))))
(define-read-only (has-paid (content-id (string-ascii 256)) (who principal))
  (default-to false (map-get? paid { content: content-id, who: who })))
