// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

interface IToken {
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// A stand-in for the PaymentPermit contract of x402's scheme `exact_permit`, written from its public interface: the
/// buyer signs token, amount, payee and the facilitator's fee, and whoever was named as caller may carry it out once,
/// within its time. Left out: kinds other than PAYMENT_ONLY, and callbacks.
contract SandboxPaymentPermit {
    struct PermitMeta {
        uint8 kind;
        bytes16 paymentId;
        uint256 nonce;
        uint256 validAfter;
        uint256 validBefore;
    }

    struct Payment {
        address payToken;
        uint256 payAmount;
        address payTo;
    }

    struct Fee {
        address feeTo;
        uint256 feeAmount;
    }

    struct PaymentPermitDetails {
        PermitMeta meta;
        address buyer;
        address caller;
        Payment payment;
        Fee fee;
    }

    event PermitSettled(address indexed buyer, uint256 nonce, bytes16 paymentId);

    error InvalidKind();
    error InvalidOwner();
    error InvalidCaller();
    error InvalidTimestamp();
    error InvalidNonce();
    error InvalidSignature();
    error TransferFailed();

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)");
    bytes32 private constant META_TYPEHASH =
        keccak256("PermitMeta(uint8 kind,bytes16 paymentId,uint256 nonce,uint256 validAfter,uint256 validBefore)");
    bytes32 private constant PAYMENT_TYPEHASH = keccak256("Payment(address payToken,uint256 payAmount,address payTo)");
    bytes32 private constant FEE_TYPEHASH = keccak256("Fee(address feeTo,uint256 feeAmount)");
    bytes32 private constant DETAILS_TYPEHASH = keccak256(
        "PaymentPermitDetails(PermitMeta meta,address buyer,address caller,Payment payment,Fee fee)"
        "Fee(address feeTo,uint256 feeAmount)Payment(address payToken,uint256 payAmount,address payTo)"
        "PermitMeta(uint8 kind,bytes16 paymentId,uint256 nonce,uint256 validAfter,uint256 validBefore)"
    );

    /// 256 nonces a word: bit `uint8(nonce)` of word `nonce >> 8` is set once the nonce is spent.
    mapping(address => mapping(uint256 => uint256)) public nonceBitmap;

    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256("PaymentPermit"), block.chainid, address(this)));
    }

    function nonceUsed(address owner, uint256 nonce) external view returns (bool) {
        return nonceBitmap[owner][nonce >> 8] >> uint8(nonce) & 1 == 1;
    }

    function permitTransferFrom(PaymentPermitDetails calldata permit, address owner, bytes calldata signature)
        external
    {
        if (permit.meta.kind != 0) revert InvalidKind();
        if (permit.buyer != owner || owner == address(0)) revert InvalidOwner();
        if (permit.caller != address(0) && permit.caller != msg.sender) revert InvalidCaller();
        if (block.timestamp < permit.meta.validAfter || block.timestamp > permit.meta.validBefore) {
            revert InvalidTimestamp();
        }
        uint256 bit = 1 << uint8(permit.meta.nonce);
        uint256 flipped = nonceBitmap[owner][permit.meta.nonce >> 8] ^= bit;
        if (flipped & bit == 0) revert InvalidNonce();
        _requireSigned(owner, _digest(permit), signature);
        _pay(permit.payment.payToken, owner, permit.payment.payTo, permit.payment.payAmount);
        if (permit.fee.feeAmount > 0) _pay(permit.payment.payToken, owner, permit.fee.feeTo, permit.fee.feeAmount);
        emit PermitSettled(owner, permit.meta.nonce, permit.meta.paymentId);
    }

    function _digest(PaymentPermitDetails calldata permit) private view returns (bytes32) {
        bytes32 body = keccak256(
            abi.encode(
                DETAILS_TYPEHASH,
                keccak256(abi.encode(META_TYPEHASH, permit.meta)),
                permit.buyer,
                permit.caller,
                keccak256(abi.encode(PAYMENT_TYPEHASH, permit.payment)),
                keccak256(abi.encode(FEE_TYPEHASH, permit.fee))
            )
        );
        return keccak256(abi.encodePacked("\x19\x01", DOMAIN_SEPARATOR(), body));
    }

    function _requireSigned(address owner, bytes32 digest, bytes calldata signature) private pure {
        if (signature.length != 65) revert InvalidSignature();
        (bytes32 r, bytes32 s) = abi.decode(signature, (bytes32, bytes32));
        if (ecrecover(digest, uint8(signature[64]), r, s) != owner) revert InvalidSignature();
    }

    function _pay(address token, address from, address to, uint256 value) private {
        if (!IToken(token).transferFrom(from, to, value)) revert TransferFailed();
    }
}
