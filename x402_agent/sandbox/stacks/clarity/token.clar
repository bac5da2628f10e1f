;; A token by SIP-010. ASSET, SYMBOL and DECIMALS are put in when it is deployed.
(define-fungible-token ASSET)
(define-constant owner tx-sender)

(define-public (transfer (amount uint) (sender principal) (recipient principal) (memo (optional (buff 34))))
  (begin
    (asserts! (is-eq tx-sender sender) (err u4))
    (try! (ft-transfer? ASSET amount sender recipient))
    (match memo text (print text) 0x)
    (ok true)))

(define-public (mint (amount uint) (recipient principal))
  (begin
    (asserts! (is-eq tx-sender owner) (err u4))
    (ft-mint? ASSET amount recipient)))

(define-read-only (get-name) (ok "SYMBOL"))
(define-read-only (get-symbol) (ok "SYMBOL"))
(define-read-only (get-decimals) (ok uDECIMALS))
(define-read-only (get-balance (who principal)) (ok (ft-get-balance ASSET who)))
(define-read-only (get-total-supply) (ok (ft-get-supply ASSET)))
(define-read-only (get-token-uri) (ok none))
