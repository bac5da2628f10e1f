// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// A stand-in for USDT on TRON, written from what its contract shows to callers: `transfer` returns false although it
/// has moved the money, `transferFrom` returns true; a fee in basis points can be switched on, and is taken out of what
/// arrives; refusals have no reason in words. It is not the real token's code: it belongs on a pretend chain.
contract SandboxTetherTRC20 {
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    string public name;
    string public symbol;
    uint8 public decimals;
    address public owner;
    bool public paused;
    uint256 public totalSupply;
    uint256 public basisPointsRate;
    uint256 public maximumFee;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    mapping(address => bool) public isBlackListed;

    modifier onlyOwner() {
        require(msg.sender == owner);
        _;
    }

    /// Instead of a constructor: the sandbox puts the code at the real token's address, then calls this once.
    function initialize(string calldata name_, string calldata symbol_, uint8 decimals_) external {
        require(owner == address(0));
        (name, symbol, decimals, owner) = (name_, symbol_, decimals_, msg.sender);
    }

    function mint(address to, uint256 value) external onlyOwner {
        totalSupply += value;
        balanceOf[to] += value;
        emit Transfer(address(0), to, value);
    }

    /// As the real one: at most 20 basis points, and at most 50 tokens.
    function setParams(uint256 basisPoints, uint256 maxFee) external onlyOwner {
        require(basisPoints < 20 && maxFee < 50);
        (basisPointsRate, maximumFee) = (basisPoints, maxFee * 10 ** decimals);
    }

    function addBlackList(address account) external onlyOwner {
        isBlackListed[account] = true;
    }

    function pause() external onlyOwner {
        paused = true;
    }

    // -- TRC-20 -------------------------------------------------------------------------------------------------------

    /// The real contract forgets to say so: false is returned for a transfer that has happened.
    function transfer(address to, uint256 value) external returns (bool) {
        require(!isBlackListed[msg.sender]);
        _move(msg.sender, to, value);
        return false;
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        require(!isBlackListed[from] && value <= allowed);
        if (allowed != type(uint256).max) allowance[from][msg.sender] = allowed - value;
        _move(from, to, value);
        return true;
    }

    function approve(address spender, uint256 value) external returns (bool) {
        require(!paused);
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function _move(address from, address to, uint256 value) private {
        require(!paused && to != address(0) && value <= balanceOf[from]);
        uint256 fee = value * basisPointsRate / 10_000;
        if (fee > maximumFee) fee = maximumFee;
        balanceOf[from] -= value;
        balanceOf[to] += value - fee;
        emit Transfer(from, to, value - fee);
        if (fee > 0) {
            balanceOf[owner] += fee;
            emit Transfer(from, owner, fee);
        }
    }
}
